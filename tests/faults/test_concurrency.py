"""Many clients at once: every version counts, every precondition holds."""

import asyncio
from uuid import UUID

import pytest

from domain.access import Caller
from domain.commands import RevokeGrant, SetLabel
from ledger.batch import Outcome, Submission
from tests.harness import Api, text_content

CLIENTS = 32


async def _commit(api: Api, prompt: str, text: str, **fields: object) -> object:
    body = {"content": text_content(text), **fields}
    return await api.call("POST", f"/v1/projects/acme/prompts/{prompt}/-/versions", body)


async def test_32_clients_on_one_prompt_make_versions_without_gap_or_loss(api: Api) -> None:
    await api.make_prompt("acme/hot", "first")

    async def client(number: int) -> list[tuple[int, str]]:
        done = []
        for turn in range(10):
            text = f"{number}-{turn}"
            answer = await _commit(api, "hot", text)
            assert answer.status == 201
            done.append((answer.body["version"], text))
        return done

    told = [pair for one in await asyncio.gather(*map(client, range(CLIENTS))) for pair in one]
    assert sorted(version for version, _ in told) == list(range(2, 2 + CLIENTS * 10))
    for version, text in told:
        answer = await api.ok("GET", f"/v1/projects/acme/prompts/hot?version={version}")
        assert answer["content"]["text"] == text
    assert api.services.committer.batches < api.services.committer.commands


async def test_32_clients_over_200_prompts(api: Api) -> None:
    await api.make_prompt("acme/p0", "first")
    await asyncio.gather(*(api.make_prompt(f"acme/p{n}", "first") for n in range(1, 200)))
    slots = asyncio.Semaphore(CLIENTS)

    async def commit(number: int) -> None:
        async with slots:
            assert (await _commit(api, f"p{number % 200}", f"t{number}")).status == 201

    await asyncio.gather(*map(commit, range(800)))
    for number in range(200):
        page = await api.ok("GET", f"/v1/projects/acme/prompts/p{number}/-/versions")
        assert [item["version"] for item in page["items"]] == [5, 4, 3, 2, 1]


async def test_expected_version_lets_exactly_one_win(api: Api) -> None:
    await asyncio.gather(*(api.make_prompt(f"acme/p{n}", "first") for n in range(4)))
    for turn in range(1, 5):
        for prompt in range(4):
            answers = await asyncio.gather(
                *(
                    _commit(api, f"p{prompt}", f"{turn}-{n}", expected_version=turn)
                    for n in range(CLIENTS)
                )
            )
            statuses = sorted(answer.status for answer in answers)
            assert statuses == [201] + [409] * (CLIENTS - 1)
            loser = next(a for a in answers if a.status == 409)
            assert (loser.code, loser.body["current_version"]) == ("stale_version", turn + 1)


async def _race(api: Api, together: bool) -> tuple[object, object]:
    caller = await api.make_caller({"role": "releaser", "project": "acme"})
    path = "/v1/projects/acme/prompts/hot/-/labels/production"
    current = await api.call("GET", path)
    target = 2 if current.status == 404 or current.body["version"] == 1 else 1
    promotion = SetLabel("acme", "hot", "production", target)
    revocation = RevokeGrant(UUID(caller.principal_id), caller.grant_ids[0])
    me = await api.ok("GET", "/v1/whoami")
    admin = Caller(me["principal_id"], me["token"]["token_id"])
    guest = Caller(caller.principal_id, caller.token_id)
    submit = api.services.committer.submit
    submissions = [Submission(promotion, guest, {}), Submission(revocation, admin, {})]
    if together:
        outcomes = await asyncio.gather(*map(submit, submissions), return_exceptions=True)
        return outcomes[0], outcomes[1]
    first = asyncio.create_task(submit(submissions[0]))
    await asyncio.sleep(0)
    second = asyncio.create_task(submit(submissions[1]))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    return outcomes[0], outcomes[1]


@pytest.mark.parametrize("together", [True, False])
async def test_a_promotion_never_outlives_the_grant_it_rests_on(api: Api, together: bool) -> None:
    """100 races each way: inside one batch and across batches, in either order."""
    await api.make_prompt("acme/hot", "one")
    await _commit(api, "hot", "two")
    for _ in range(100):
        promoted, revoked = await _race(api, together)
        assert isinstance(revoked, Outcome)
        if isinstance(promoted, Outcome):
            assert promoted.position < revoked.position


async def test_a_revocation_before_a_promotion_in_one_batch_refuses_it(api: Api) -> None:
    await api.make_prompt("acme/hot", "one")
    caller = await api.make_caller({"role": "releaser", "project": "acme"})
    me = await api.ok("GET", "/v1/whoami")
    admin = Caller(me["principal_id"], me["token"]["token_id"])
    guest = Caller(caller.principal_id, caller.token_id)
    submit = api.services.committer.submit
    revocation = RevokeGrant(UUID(caller.principal_id), caller.grant_ids[0])
    outcomes = await asyncio.gather(
        submit(Submission(revocation, admin, {})),
        submit(Submission(SetLabel("acme", "hot", "production", 1), guest, {})),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Outcome)
    assert not isinstance(outcomes[1], Outcome)


async def test_over_http_a_promotion_never_outlives_its_grant(api: Api) -> None:
    """100 races over HTTP, where arrival order is anybody's guess."""
    await api.make_prompt("acme/hot", "one")
    await _commit(api, "hot", "two")
    path = "/v1/projects/acme/prompts/hot/-/labels/production"
    for turn in range(100):
        caller = await api.make_caller({"role": "releaser", "project": "acme"})
        await caller.api.ok("GET", "/v1/whoami")
        body = {"version": 1 + turn % 2}
        promoted, revoked = await asyncio.gather(
            caller.api.call("PUT", path, body),
            api.call("DELETE", f"/v1/grants/{caller.grant_ids[0]}",
                     headers={"Scrinia-Min-Position": str(api.position)}),
        )  # fmt: skip
        assert revoked.status == 200
        if promoted.status in (200, 201) and promoted.body["changed"]:
            assert promoted.body["position"] < revoked.body["position"]
        else:
            assert promoted.status in (200, 401, 403, 404)
