"""Many clients at once: every version counts, every precondition holds."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from api.main import decide
from domain.access import Caller
from domain.commands import Command, RevokeGrant, SetLabel
from domain.errors import DomainError
from ledger.batch import Batch, Outcome, Submission
from ledger.ids import SystemIds, now
from ledger.repository import Repository
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

    told: dict[tuple[int, int], str] = {}

    async def commit(number: int) -> None:
        async with slots:
            answer = await _commit(api, f"p{number % 200}", f"t{number}")
            assert answer.status == 201
            told[number % 200, answer.body["version"]] = f"t{number}"

    await asyncio.gather(*map(commit, range(800)))
    for number in range(200):
        path = f"/v1/projects/acme/prompts/p{number}"
        page = await api.ok("GET", f"{path}/-/versions")
        assert [item["version"] for item in page["items"]] == [5, 4, 3, 2, 1]
        for version in (2, 3, 4, 5):
            held = await api.ok("GET", f"{path}?version={version}")
            assert held["content"]["text"] == told[number, version]


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


async def _race(api: Api, together: bool, revoke_first: bool) -> tuple[object, object]:
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
    if revoke_first:
        submissions.reverse()
    first = asyncio.create_task(submit(submissions[0]))
    if not together:
        await asyncio.sleep(0)
    second = asyncio.create_task(submit(submissions[1]))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    return (outcomes[1], outcomes[0]) if revoke_first else (outcomes[0], outcomes[1])


@pytest.mark.parametrize("together", [True, False])
async def test_a_promotion_never_outlives_the_grant_it_rests_on(api: Api, together: bool) -> None:
    """100 races each way: inside one batch and across batches, in either order."""
    await api.make_prompt("acme/hot", "one")
    await _commit(api, "hot", "two")
    accepted = 0
    for turn in range(100):
        promoted, revoked = await _race(api, together, revoke_first=turn % 2 == 1)
        assert isinstance(revoked, Outcome)
        if isinstance(promoted, Outcome):
            assert promoted.position < revoked.position
            accepted += 1
    assert 25 <= accepted <= 75, "one of the two always wins: that is no race"


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


async def test_a_decision_stands_only_on_what_it_has_read(api: Api) -> None:
    """Another writer revokes the grant after the promotion was decided and before it is appended."""
    await api.make_prompt("acme/hot", "one")
    caller = await api.make_caller({"role": "releaser", "project": "acme"})
    me = await api.ok("GET", "/v1/whoami")
    admin = Caller(me["principal_id"], me["token"]["token_id"])
    guest = Caller(caller.principal_id, caller.token_id)
    committer = api.services.committer
    other = _second_writer(api)
    append = committer._recorder.append_units
    interfered = []

    def late(units: list, **options: object) -> list:
        if not interfered:
            interfered.append(
                other(RevokeGrant(UUID(caller.principal_id), caller.grant_ids[0]), admin)
            )
        return append(units, **options)

    committer._recorder.append_units = late
    with pytest.raises(DomainError):
        await committer.submit(Submission(SetLabel("acme", "hot", "production", 1), guest, {}))
    assert interfered == [True]
    label = await api.call("GET", "/v1/projects/acme/prompts/hot/-/labels/production")
    assert label.status == 404


def _second_writer(api: Api) -> Callable[[Command, Caller], bool]:
    """Commits like another process would: by a batch and a connection of its own."""
    services = api.services
    signer = services.committer._signer

    def commit(command: Command, caller: Caller) -> bool:
        repository = Repository(services.recorder, services.mapper, services.ledger_id)
        batch = Batch(repository, services.mapper, signer, SystemIds(), services.ledger_id)
        batch.decide(Submission(command, caller, {}), decide, now())
        (group,) = batch.groups
        recorder = type(services.recorder)
        return recorder.append_units(services.recorder, [batch.unit(group)])[0].accepted

    return commit


async def test_a_unit_names_every_stream_its_decision_read(api: Api) -> None:
    await api.make_prompt("acme/hot", "one")
    me = await api.ok("GET", "/v1/whoami")
    admin = Caller(me["principal_id"], me["token"]["token_id"])
    services = api.services
    repository = Repository(services.recorder, services.mapper, services.ledger_id)
    batch = Batch(
        repository, services.mapper, services.committer._signer, SystemIds(), services.ledger_id
    )
    batch.decide(Submission(SetLabel("acme", "hot", "production", 1), admin, {}), decide, now())
    unit = batch.unit(batch.groups[0])
    kinds = sorted(stream.partition("/")[0] for stream in unit.conditions)
    assert kinds == ["consumers", "keys", "name", "principal", "project", "prompt"]


async def test_commands_that_touch_each_other_stand_or_fall_together(api: Api) -> None:
    """One writes what the other only reads: one unit; strangers are units of their own."""
    for name in ("hot", "cold"):
        await api.make_prompt(f"acme/{name}", "one")
    caller = await api.make_caller({"role": "releaser", "project": "acme"})
    me = await api.ok("GET", "/v1/whoami")
    admin = Caller(me["principal_id"], me["token"]["token_id"])
    guest = Caller(caller.principal_id, caller.token_id)
    services = api.services
    repository = Repository(services.recorder, services.mapper, services.ledger_id)
    batch = Batch(
        repository, services.mapper, services.committer._signer, SystemIds(), services.ledger_id
    )
    for command, by in (
        (SetLabel("acme", "hot", "production", 1), guest),
        (SetLabel("acme", "cold", "production", 1), admin),
        (RevokeGrant(UUID(caller.principal_id), caller.grant_ids[0]), admin),
    ):
        batch.decide(Submission(command, by, {}), decide, now())
    assert sorted(len(group.members) for group in batch.groups) == [1, 2]
