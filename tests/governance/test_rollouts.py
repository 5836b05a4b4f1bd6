"""Rollouts: who gets what, what the rules let, how they step up and how they stop."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from domain.rollout import bucket_of
from tests.governance.team import PRODUCTION, PROMPT, Team, codes, hours, rules
from tests.harness import Answer, Process, registry, text_content, verify

LABEL = f"{PROMPT}/-/labels/production"
PRO = [{"if": [{"attribute": "plan", "in": ["pro"]}], "version": 2}]


async def split(team: Team, weights: dict[str, int], by: str = "releaser", **more: Any) -> Answer:
    return await getattr(team, by).call("PUT", LABEL, {"rollout": weights, **more})


async def ask(team: Team, key: str, **attributes: str) -> Any:
    params = [("targeting_key", key)]
    params += [("attribute", f"{name}:{value}") for name, value in attributes.items()]
    return await team.viewer.ok("GET", PROMPT, params=params)


async def shown(team: Team) -> Any:
    return (await team.viewer.ok("GET", LABEL))["rollout"]


async def test_who_asks_gets_the_version_of_their_bucket(team: Team) -> None:
    answer = await split(team, {"1": 900, "2": 100})
    assert answer.status == 201, answer.body
    prompt_id = (await team.viewer.ok("GET", LABEL))["prompt_id"]
    asked: Counter[int] = Counter()
    for key in (f"user-{n}" for n in range(10_000)):
        bucket = bucket_of(prompt_id, "production", key)
        version = 1 if bucket < 900 else 2
        if asked[version] == 30:
            continue  # whose buckets these are differs by prompt: as many are asked of each
        answer = await ask(team, key)
        assert answer["assignment"] == {"bucket": bucket, "version": version, "reason": "split"}
        assert (answer["version"], answer["label"]) == (version, "production")
        assert answer["content"]["text"] == ("one" if version == 1 else "two")
        asked[version] += 1
    assert asked == {1: 30, 2: 30}
    plain = await team.viewer.ok("GET", PROMPT)
    assert plain["version"] == 1 and "assignment" not in plain


async def test_a_label_that_is_not_split_says_so(team: Team) -> None:
    answer = await ask(team, "user-1")
    assert (answer["version"], answer["assignment"]["reason"]) == (1, "default")


async def test_rules_come_before_the_split(team: Team) -> None:
    assert (await split(team, {"1": 1000}, rules=PRO)).status == 201
    assert (await ask(team, "u", plan="pro"))["assignment"]["rule"] == 1
    assert (await ask(team, "u", plan="free"))["version"] == 1
    assert (await shown(team))["rules"] == PRO
    events = await team.admin.ok("GET", "/v1/events?kind=rollout.set&limit=500")
    assert '"pro"' not in json.dumps(events["items"][-1]["data"])  # what rules look at is content


async def test_everywhere_that_resolves(team: Team) -> None:
    await split(team, {"1": 1000}, rules=PRO)
    who = {"targeting_key": "u", "attributes": {"plan": "pro"}}
    item = {"project": "acme", "name": "support/triage", **who}
    many = await team.viewer.ok("POST", "/v1/resolve", {"items": [item]})
    assert many["items"][0]["version"] == 2
    rendered = await team.viewer.ok("POST", f"{PROMPT}/-/render", {"variables": {}, **who})
    assert (rendered["version"], rendered["assignment"]["reason"]) == (2, "rule")
    head = (await team.admin.ok("GET", "/v1/events?limit=1"))["head"]
    await team.releaser.ok("POST", f"{LABEL}/stop")
    assert (await ask(team, "u", plan="pro"))["version"] == 1
    past = await team.viewer.ok(
        "GET", PROMPT, params={"targeting_key": "u", "attribute": "plan:pro", "as_of": str(head)}
    )
    assert (past["version"], past["assignment"]["rule"]) == (2, 1)


async def test_an_answer_is_held_as_long_as_it_stands(team: Team) -> None:
    await split(team, {"2": 1000})
    params = {"targeting_key": "u"}
    first = await team.viewer.call("GET", PROMPT, params=params)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await team.viewer.call("GET", PROMPT, params=params, headers=known)
    assert (first.body["version"], again.status) == (2, 304)
    await split(team, {"1": 1000})
    now = await team.viewer.call("GET", PROMPT, params=params, headers=known)
    assert (now.status, now.body["version"]) == (200, 1)


async def test_a_shadow_is_beside(team: Team) -> None:
    await split(team, {"1": 1000}, shadow=2)
    answer = await ask(team, "u")
    assert (answer["version"], answer["content"]["text"]) == (1, "one")
    assert (answer["shadow"]["version"], answer["shadow"]["content"]["text"]) == (2, "two")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"rollout": {"1": 900, "2": 99}}, 422),
        ({"rollout": {"1": 1000}, "version": 1}, 422),
        ({"version": 2, "shadow": 1}, 422),
        ({"rollout": {"1": 1000}, "expires_at": "2099-01-01T00:00:00Z"}, 422),
        ({"rollout": {"1": 1000}, "break_glass": True, "reason": "x"}, 422),
        ({"reason": "x"}, 422),
        ({"rollout": {}}, 422),
        ({"rollout": {"0": 1000}}, 422),
        ({"rollout": {"1": 1000}, "safe": 2}, 422),
        ({"rollout": {"1": 500, "9": 500}}, 404),
        ({"rollout": {"1": 1000}, "shadow": 9}, 404),
        ({"rollout": {"1": 1000}, "ramp": [{"at": "2001-01-01T00:00:00Z",
                                            "weights": {"1": 1000}}]}, 422),
        ({"rollout": {"1": 1000}, "ramp": [{"at": hours(1), "weights": {"1": 1}}]}, 422),
        ({"rollout": {"1": 1000}, "rules": [{"if": [{"attribute": "a"}], "version": 1}]}, 422),
        ({"rollout": {"1": 1000}, "rules": [{"if": [], "version": 1}]}, 422),
        ({"rollout": {"1": 1000}, "force": True}, 422),
    ],
)  # fmt: skip
async def test_what_is_none_changes_nothing(team: Team, body: dict, status: int) -> None:
    answer = await team.releaser.call("PUT", LABEL, body)
    assert answer.status == status, answer.body
    assert await shown(team) is None


async def test_a_label_that_points_nowhere_is_not_split(team: Team) -> None:
    path = f"{PROMPT}/-/labels/staging"
    answer = await team.releaser.call("PUT", path, {"rollout": {"1": 1000}})
    assert answer.code == "label_not_set"
    assert (await team.releaser.call("POST", f"{path}/stop")).code == "label_not_set"


@pytest.mark.parametrize(
    "params",
    [[("attribute", "plan:pro")], [("targeting_key", "u"), ("version", "1")],
     [("targeting_key", "u"), ("attribute", "plan")], [("targeting_key", "")],
     [("targeting_key", "u"), ("attribute", "a:1"), ("attribute", "a:2")]],
)  # fmt: skip
async def test_asking_wrongly_is_told(team: Team, params: list) -> None:
    answer = await team.viewer.call("GET", PROMPT, params=params)
    assert (answer.status, answer.code) == (400, "invalid_parameter")


# What the rules let


async def test_every_version_has_to_be_let(team: Team) -> None:
    await team.admin.ok("PUT", PRODUCTION, rules(checks=[{"name": "lint"}]))
    for weights, more in (({"1": 950, "2": 50}, {}), ({"1": 1000}, {"rules": PRO})):
        assert codes(await split(team, weights, **more)) == ["check:lint", "approvals"]
    assert (await split(team, {"1": 1000}, shadow=2)).status == 201, "a shadow is never served"
    assert (await split(team, {"1": 950, "2": 50}, by="author")).status == 403


async def test_an_open_change_request_lets_what_it_proposes(team: Team) -> None:
    await team.commit("three")
    await team.admin.ok("PUT", PRODUCTION, rules())
    change = await team.propose(2)
    named = {"change_id": change.rpartition("/")[2]}
    assert codes(await split(team, {"1": 950, "2": 50}, **named)) == ["approvals"]
    await team.reviewer.ok("POST", f"{change}/approve")
    assert codes(await split(team, {"1": 950, "2": 50})) == ["approvals"]
    assert codes(await split(team, {"1": 900, "2": 50, "3": 50}, **named)) == ["approvals"]
    assert (await split(team, {"1": 950, "2": 50}, **named)).status == 201
    assert (await split(team, {"1": 500, "2": 500}, **named)).status == 200
    await team.reviewer.ok("POST", f"{change}/retract")
    assert codes(await split(team, {"1": 400, "2": 600}, **named)) == ["approvals"]
    await team.reviewer.ok("POST", f"{change}/approve")
    await team.releaser.ok("POST", f"{change}/apply")
    assert (await shown(team), await team.live()) == (None, 2)
    assert (await split(team, {"1": 500, "2": 500}, **named)).code == "conflict"
    other = await team.propose(1, environment="staging")
    elsewhere = {"change_id": other.rpartition("/")[2]}
    assert (await split(team, {"2": 500, "1": 500}, **elsewhere)).status == 422


async def test_freezes_hold_it_and_stopping_is_never_held(team: Team) -> None:
    await split(team, {"1": 950, "2": 50})
    frozen = {"starts_at": hours(-1), "ends_at": hours(1)}
    await team.admin.ok("PUT", PRODUCTION, {"freezes": [frozen]})
    assert codes(await split(team, {"1": 900, "2": 100})) == ["freeze"]
    stopped = await team.releaser.call("POST", f"{LABEL}/stop", {"reason": "complaints"})
    assert (stopped.status, stopped.body["rollout"]) == (200, None)
    assert (await ask(team, "u"))["assignment"]["reason"] == "default"
    again = await team.releaser.ok("POST", f"{LABEL}/stop")
    assert not again["changed"]


async def test_consumers_are_asked(team: Team) -> None:
    await team.viewer.ok("PUT", f"{PROMPT}/-/consumers/app", {"range": "=1.0.0"})
    assert codes(await split(team, {"1": 950, "2": 50})) == ["consumer:app"]
    forced = await split(team, {"1": 950, "2": 50}, force=True, reason="they know")
    assert forced.status == 201


async def test_stopping_leads_to_the_safe_version(team: Team) -> None:
    await team.promote(2)
    await team.commit("three")
    assert (await split(team, {"2": 900, "3": 100}, safe=1)).status == 201
    stopped = await team.releaser.ok("POST", f"{LABEL}/stop", {"reason": "worse"})
    assert (stopped["version"], stopped["rollout"], await team.live()) == (1, None, 1)
    history = await team.viewer.ok("GET", f"{LABEL}/history")
    assert history["items"][0]["act"] == "rollback"


async def test_stopping_is_never_held_up(team: Team) -> None:
    """Where the rules do not let the safe version, the split ends all the same, and says so."""
    await team.releaser.ok("PUT", LABEL, {"version": 2, "expires_at": hours(5)})
    until = (await team.viewer.ok("GET", LABEL))["expires_at"]
    await split(team, {"2": 500, "1": 500}, safe=1)
    await team.admin.ok("PUT", PRODUCTION, rules(guarded_rollback=True))
    answer = await team.releaser.ok("POST", f"{LABEL}/stop")
    assert answer["changed"] and "approvals" in answer["safe_refused"]
    assert (answer["version"], await shown(team)) == (2, None)
    await team.admin.ok("PUT", PRODUCTION, {})
    await split(team, {"2": 500, "1": 500}, safe=1)
    answer = await team.releaser.ok("POST", f"{LABEL}/stop")
    assert (answer["version"], answer["safe_refused"]) == (1, None)
    assert (await team.viewer.ok("GET", LABEL))["expires_at"] == until  # no longer than before


async def test_a_split_is_live_no_earlier_later_or_further_than_agreed(team: Team) -> None:
    """What was approved for later, for a time or unforced lets no split of another kind."""
    await team.admin.ok("PUT", PRODUCTION, rules())
    for terms, words in (
        ({"scheduled_at": hours(1)}, "is scheduled for"),
        ({"expires_at": hours(1)}, "and the label does not"),
    ):
        change = await team.propose(by="releaser", **terms)
        await team.reviewer.ok("POST", f"{change}/approve")
        answer = await split(team, {"2": 1000}, change_id=change.rpartition("/")[2])
        assert (answer.status, answer.code) == (409, "conflict") and words in answer.body["detail"]
    await team.viewer.ok("PUT", f"{PROMPT}/-/consumers/app", {"range": "=1.0.0"})
    change = await team.propose()
    await team.reviewer.ok("POST", f"{change}/approve")
    forced = {"change_id": change.rpartition("/")[2], "force": True, "reason": "because"}
    answer = await split(team, {"2": 1000}, **forced)
    assert answer.status == 409 and "not agreed to break" in answer.body["detail"]
    agreed = await team.propose(force=True, reason="because")
    await team.reviewer.ok("POST", f"{agreed}/approve")
    forced["change_id"] = agreed.rpartition("/")[2]
    assert (await split(team, {"2": 1000}, **forced)).status == 201


async def test_glass_is_not_broken_for_what_stopping_does(team: Team) -> None:
    await split(team, {"2": 1000})
    body = {"version": 1, "break_glass": True, "reason": "2 is broken"}
    answer = await team.admin.call("PUT", LABEL, body)
    assert answer.status == 409 and "stop the rollout" in answer.body["detail"]


async def test_another_takes_a_ramp_over(team: Team) -> None:
    """By their rights are its steps taken from then on."""
    ramp = [{"at": hours(1), "weights": {"2": 1000}}]
    await split(team, {"1": 900, "2": 100}, ramp=ramp)
    answer = await split(team, {"1": 900, "2": 100}, by="admin", ramp=ramp)
    assert answer.body["changed"]
    assert (await shown(team))["by"] != team.callers["releaser"].principal_id


async def test_it_ends_when_the_label_moves(team: Team) -> None:
    for version in (1, 2):  # also to where it points: then all are served that
        await split(team, {"1": 950, "2": 50})
        assert (await team.promote(version)).body["changed"] is True
        assert await shown(team) is None
        assert (await team.promote(version)).body["changed"] is False
    await split(team, {"2": 950, "1": 50})
    await team.releaser.ok("DELETE", LABEL)
    assert (await team.viewer.call("GET", PROMPT, params={"targeting_key": "u"})).status == 404


async def test_the_same_again_changes_nothing_and_etags_count(team: Team) -> None:
    made = await split(team, {"1": 950, "2": 50}, rules=PRO)
    etag = (await team.viewer.call("GET", LABEL)).headers["ETag"]
    again = await split(team, {"1": 950, "2": 50}, rules=PRO)
    assert (again.status, again.body["changed"]) == (200, False)
    assert again.body["position"] == made.body["position"]
    await split(team, {"1": 900, "2": 100}, rules=PRO)
    stale = {"headers": {"If-Match": etag}}
    body = {"rollout": {"1": 800, "2": 200}}
    assert (await team.releaser.call("PUT", LABEL, body, **stale)).status == 412


# Ramps


async def until(team: Team, wanted: dict[str, int] | None, cause: str | None = None) -> Any:
    async with asyncio.timeout(15):
        while True:
            rollout = await shown(team)
            if (rollout["weights"], rollout["paused"]) == (wanted, cause):
                return rollout
            await asyncio.sleep(0.1)


async def ramped(team: Team, **more: Any) -> dict[str, int]:
    """5 %, and 50 % in a moment."""
    steps = [{"at": hours(1 / 3600), "weights": {"1": 500, "2": 500}},
             {"at": hours(1), "weights": {"2": 1000}}]  # fmt: skip
    answer = await split(team, {"1": 950, "2": 50}, ramp=steps, **more)
    assert answer.status == 201, answer.body
    return {"1": 500, "2": 500}


async def test_a_step_is_taken_when_it_is_due(team: Team) -> None:
    wanted = await ramped(team, rules=PRO, shadow=1)
    rollout = await until(team, wanted)
    assert len(rollout["ramp"]) == 1 and rollout["shadow"] == 1 and rollout["rules"] == PRO
    events = await team.admin.ok("GET", "/v1/audit?action=rollout.set&limit=500")
    actor = events["items"][-1]["actor"]
    releaser = team.callers["releaser"]
    assert (actor["id"], actor["on_behalf_of"]) == ("system", releaser.principal_id)


async def test_an_asker_who_lost_the_right_asks_for_nothing(team: Team) -> None:
    await ramped(team)
    await team.admin.ok("DELETE", f"/v1/grants/{team.callers['releaser'].grant_ids[0]}")
    await until(team, {"1": 950, "2": 50}, "not_permitted")


async def test_a_token_that_was_revoked_asks_for_nothing(team: Team) -> None:
    await ramped(team)
    await team.admin.ok("DELETE", f"/v1/tokens/{team.callers['releaser'].token_id}")
    await until(team, {"1": 950, "2": 50}, "not_permitted")


async def test_rules_that_came_meanwhile_hold(team: Team) -> None:
    await ramped(team)
    await team.admin.ok("PUT", PRODUCTION, rules())
    await until(team, {"1": 950, "2": 50}, "rules_not_met")


async def test_the_command_line(server: Process) -> None:
    def cli(*words: str, **options: Any) -> str:
        return server.cli(*words, **options).stdout

    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "shop"})
    for number in (1, 2, 3):
        body = {"content": text_content(f"v{number}")}
        path = "/v1/projects/shop/prompts"
        if number == 1:
            client.ok("POST", path, {"name": "greet", **body})
        else:
            client.ok("POST", f"{path}/greet/-/versions", body)
    cli("promote", "shop/greet@1", "--to", "production")
    rules_file = server.data_dir.parent / "rules.json"
    rules_file.write_text(json.dumps(PRO))
    started = cli("rollout", "start", "shop/greet", "--weight", "2=50", "--shadow", "3",
                  "--rules", str(rules_file), "--step", f"{hours(1)}:2=250", "-m", "try")  # fmt: skip
    assert "version 1 95 %, version 2 5 %" in started
    told = cli("rollout", "show", "shop/greet")
    assert "rule 1" in told and "shadow: 3" in told and "version 2 25 %" in told
    show = ("prompt", "show", "shop/greet@production", "--targeting-key", "u")
    assert "by split" in cli(*show)
    assert "by rule" in cli(*show, "--attribute", "plan:pro")
    assert "everybody gets version 1" in cli("rollout", "stop", "shop/greet")
    assert "is not split" in cli("rollout", "show", "shop/greet")
    wrong = server.cli("rollout", "start", "shop/greet", "--weight", "two", check=False)
    assert wrong.returncode == 2


async def test_another_process_serves_it_too(tmp_path: Path) -> None:
    async with registry(tmp_path) as one, registry(tmp_path) as two:
        await one.make_prompt("acme/mail", "one")
        path = "/v1/projects/acme/prompts/mail"
        await one.ok("POST", f"{path}/-/versions", {"content": text_content("two")})
        await one.ok("PUT", f"{path}/-/labels/production", {"version": 1})
        two.position = one.position
        assert (await two.ok("GET", path, params={"targeting_key": "u"}))["version"] == 1
        body = {"rollout": {"2": 1000}, "rules": PRO}
        await one.ok("PUT", f"{path}/-/labels/production", body)
        two.position = one.position
        assert (await two.ok("GET", path, params={"targeting_key": "u"}))["version"] == 2
    assert verify(tmp_path / "data").faults == []
