"""Branches, merges, semvers and forks, as those who use them meet them."""

from pathlib import Path

import pytest

from tests.harness import Api, Process, text_content

PATH = "/v1/projects/acme/prompts/mail"


def lines(*texts: str) -> dict:
    return {"content": text_content("".join(f"{text}\n" for text in texts))}


async def test_a_branch_is_merged_by_line_and_gets_its_semver_then(api: Api) -> None:
    await api.make_prompt("acme/mail", "a\nb\nc\n")
    await api.ok("POST", f"{PATH}/-/branches", {"branch": "bold"})
    mine = await api.ok("POST", f"{PATH}/-/versions", lines("A", "b", "c") | {"branch": "bold"})
    assert (mine["version"], mine["branch"], mine["semver"]) == (2, "bold", None)
    main = await api.ok("POST", f"{PATH}/-/versions", lines("a", "b", "C"))
    assert (main["version"], main["semver"]) == (3, "1.1.0")
    assert main["change"] == {"level": "minor", "reasons": ["text_changed"]}
    compared = await api.ok("GET", f"{PATH}/-/branches/bold")
    assert (compared["ahead"], compared["behind"], compared["base"]) == ([2], [3], 1)
    assert compared["conflicts"] == []
    latest = await api.ok("GET", f"{PATH}?label=latest")
    assert latest["version"] == 3
    diff = await api.ok("GET", f"{PATH}/-/diff", params={"from": "latest", "to": "branch:bold"})
    assert (diff["from"], diff["to"]) == (3, 2) and "-C" in diff["unified"]
    assert diff["semantic"]["change"] == {"level": "minor", "reasons": ["text_changed"]}
    none = await api.call("GET", f"{PATH}/-/diff", params={"from": "1", "to": "branch:none"})
    assert (none.status, none.code) == (404, "branch_not_found")
    merged = await api.ok("POST", f"{PATH}/-/merge", {"source": "bold", "message": "both"})
    assert (merged["version"], merged["semver"], merged["branch"]) == (4, "1.2.0", "main")
    shown = await api.ok("GET", f"{PATH}/-/versions/4")
    assert shown["content"]["text"] == "A\nb\nC\n" and shown["parents"] == [3, 2]
    again = await api.ok("POST", f"{PATH}/-/merge", {"source": "bold"})
    assert not again["changed"] and again["version"] == 4
    on_branch = await api.ok("GET", f"{PATH}/-/versions?branch=bold")
    assert [v["version"] for v in on_branch["items"]] == [2]
    audit = await api.ok("GET", "/v1/audit?action=version.committed&limit=500")
    assert audit["items"][-1]["before"] == {"version": 3}
    assert audit["items"][-1]["after"]["parents"] == [3, 2]
    assert audit["items"][-1]["after"]["semver"] == "1.2.0"


async def test_conflicts_are_data_and_settled_by_the_committer(api: Api) -> None:
    await api.make_prompt("acme/mail", "a\nb\n")
    await api.ok("POST", f"{PATH}/-/branches", {"branch": "bold"})
    await api.ok("POST", f"{PATH}/-/versions", lines("a", "x") | {"branch": "bold"})
    await api.ok("POST", f"{PATH}/-/versions", lines("a", "y"))
    before = api.position
    refused = await api.call("POST", f"{PATH}/-/merge", {"source": "bold"})
    assert (refused.status, refused.code) == (409, "merge_conflict")
    (conflict,) = refused.body["conflicts"]
    assert [conflict[side] for side in ("base", "target", "source")] == ["b\n", "y\n", "x\n"]
    settled = {
        "source": "bold", "resolutions": {conflict["id"]: {"value": "x and y\n"}},
        "expected_version": refused.body["target_version"],
        "source_version": refused.body["source_version"],
    }  # fmt: skip
    unseen = await api.call("POST", f"{PATH}/-/merge", settled | {"expected_version": None})
    assert unseen.status == 422
    stale = await api.call("POST", f"{PATH}/-/merge", settled | {"source_version": 1})
    assert (stale.status, stale.code) == (409, "stale_version")
    assert (await api.ok("GET", "/v1/events?limit=1"))["head"] == before
    await api.ok("POST", f"{PATH}/-/merge", settled)
    shown = await api.ok("GET", f"{PATH}?label=latest")
    assert shown["content"]["text"] == "a\nx and y\n"


async def test_a_merge_that_makes_no_valid_content_is_refused(api: Api) -> None:
    content = {"type": "text", "text": "a\nb\nc\n{{x}}\n", "variables": {"x": {}}}
    body = {"name": "mail", "content": content}
    await api.ok("POST", "/v1/projects", {"project": "acme"})
    await api.ok("POST", "/v1/projects/acme/prompts", body)
    await api.ok("POST", f"{PATH}/-/branches", {"branch": "plain"})
    plain = {"type": "text", "text": "a\nb\nc\n", "variables": {}}
    await api.ok("POST", f"{PATH}/-/versions", {"content": plain, "branch": "plain"})
    more = content | {"text": "{{x}}\na\nb\nc\n{{x}}\n"}
    await api.ok("POST", f"{PATH}/-/versions", {"content": more})
    refused = await api.call("POST", f"{PATH}/-/merge", {"source": "plain"})
    assert (refused.status, refused.code) == (422, "invalid_content")
    assert "Merged" in refused.body["detail"]


async def test_ranges_serve_only_what_was_promoted(api: Api) -> None:
    await api.make_prompt("acme/mail", "a")
    await api.ok("POST", f"{PATH}/-/versions", {"content": text_content("b")})
    await api.ok("POST", f"{PATH}/-/versions", {"content": text_content("b {{x}}")})
    missing = await api.call("GET", PATH, params={"version": "^1"})
    assert (missing.status, missing.code) == (404, "label_not_set")
    moments = []
    for version in (1, 2, 3):
        label = f"{PATH}/-/labels/production"
        moments.append((await api.ok("PUT", label, {"version": version}))["position"])
    for wanted, version in (("^1", 2), ("=1.0", 1), ("^2", 3), (">=1", 3), ("~1.1", 2)):
        found = await api.ok("GET", PATH, params={"version": wanted})
        assert (found["version"], found["label"]) == (version, "production")
        many = {"items": [{"project": "acme", "name": "mail", "version": wanted}]}
        assert (await api.ok("POST", "/v1/resolve", many))["items"] == [found]
    past = await api.ok("GET", PATH, params={"version": "^1", "as_of": str(moments[0])})
    assert past["version"] == 1
    await api.ok("POST", f"{PATH}/-/rollback", {"label": "production", "to": 1})
    assert (await api.ok("GET", PATH, params={"version": "^1"}))["version"] == 1
    for wanted, status, code in (
        ("^3", 404, "version_not_found"), ("^x", 400, "invalid_range"), ("x", 400, None),
    ):  # fmt: skip
        answer = await api.call("GET", PATH, params={"version": wanted})
        assert (answer.status, answer.code) == (status, code or "invalid_parameter")
    rendered = await api.ok("POST", f"{PATH}/-/render", {"version": "=1.0", "variables": {}})
    assert rendered["messages"] == [{"role": "user", "content": "a"}]


async def test_a_fork_says_where_it_came_from_to_those_who_may_know(api: Api) -> None:
    await api.make_prompt("acme/mail", "a")
    await api.ok("POST", f"{PATH}/-/versions", {"content": text_content("b")})
    await api.ok("POST", "/v1/projects", {"project": "other"})
    made = await api.ok(
        "POST", f"{PATH}/-/fork", {"project": "other", "name": "post", "version": 1, "tags": ["x"]}
    )
    assert (made["ref"], made["semver"], made["origin"]) == (
        "other/post@1", "1.0.0", "acme/mail@1",
    )  # fmt: skip
    fork = "/v1/projects/other/prompts/post"
    assert (await api.ok("GET", f"{fork}?version=1"))["content"]["text"] == "a"
    assert (await api.ok("GET", f"{fork}/-/metadata"))["forked_from"] == "acme/mail@1"
    stranger = (await api.make_caller({"role": "developer", "project": "other"})).api
    stranger.position = api.position
    assert (await stranger.ok("GET", f"{fork}/-/metadata"))["forked_from"] is None
    refused = await stranger.call("POST", f"{PATH}/-/fork", {"project": "other", "name": "b"})
    assert refused.status == 404


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the client is the same
def test_branches_on_the_command_line(server: Process, tmp_path: Path) -> None:
    def ok(*args: str) -> str:
        return server.cli(*args).stdout

    base, mine = tmp_path / "base.txt", tmp_path / "mine.txt"
    base.write_text("a\nb\n")
    ok("project", "create", "acme")
    ok("prompt", "create", "acme/mail", str(base))
    assert "shorter is at version 1" in ok("branch", "create", "acme/mail", "shorter")
    mine.write_text("a\n")
    assert "on shorter" in ok("prompt", "commit", "acme/mail", str(mine), "--branch", "shorter")
    mine.write_text("a\nB\n")
    assert "1.1.0, minor: text_changed" in ok("prompt", "commit", "acme/mail", str(mine))
    compared = ok("branch", "compare", "acme/mail", "shorter")
    assert "1 ahead of and 1 behind main" in compared and "conflict /text#" in compared
    refused = server.cli("branch", "merge", "acme/mail", "shorter", check=False)
    assert refused.returncode == 1 and "--expected-version 3 --source-version 2" in refused.stdout
    merged = ok(
        "branch", "merge", "acme/mail", "shorter", "--take", "/text#1=source",
        "--expected-version", "3", "--source-version", "2",
    )  # fmt: skip
    assert "acme/mail@4 committed (1.2.0" in merged
    shown = ok("prompt", "diff", "acme/mail", "1", "4", "--words")
    assert "[-b\n-]" in shown and "minor: text_changed" in shown
    assert "4        1.2.0" in ok("prompt", "log", "acme/mail")
    assert "shorter" in ok("branch", "list", "acme/mail")
    ok("branch", "delete", "acme/mail", "shorter")
    assert "acme/post@1 committed" in ok("prompt", "fork", "acme/mail@1", "acme/post")
    ok("promote", "acme/mail@1")
    assert "acme/mail@1" in ok("prompt", "show", "acme/mail@^1")
