"""What NATS is told: every event once, in order, and where each label points, whatever breaks."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import nats as client
import nkeys
import pytest
import trustme
import yaml
from nats.js.errors import KeyNotFoundError, NotFoundError

from domain.topics import KINDS_AND_VERBS
from projections.jetstream import BUCKET, STREAM, SUBJECTS
from tests.harness import ROOT, Api, Process, registry, text_content
from tests.servers import Nats

PROMPT = "/v1/projects/acme/prompts/support/triage"


async def published(url: str) -> list[dict[str, Any]]:
    """Every message in the stream: subject, headers and body, oldest first."""
    connection = await client.connect(url)
    try:
        js = connection.jetstream()
        info = await js.stream_info(STREAM)
        messages = []
        for sequence in range(1, info.state.last_seq + 1):
            message = await js.get_msg(STREAM, sequence)
            body = json.loads(message.data)
            messages.append({"subject": message.subject, "headers": message.headers, "body": body})
        return messages
    finally:
        await connection.close()


async def until_published(url: str, head: int, seconds: float = 20) -> list[dict[str, Any]]:
    async with asyncio.timeout(seconds):
        while True:
            try:
                messages = await published(url)
                if messages and messages[-1]["body"]["position"] >= head:
                    return messages
            except (OSError, NotFoundError, client.errors.Error):
                pass
            await asyncio.sleep(0.05)


async def label(url: str, key: str) -> dict[str, Any] | None:
    connection = await client.connect(url)
    try:
        bucket = await connection.jetstream().key_value(BUCKET)
        return json.loads((await bucket.get(key)).value)
    except KeyNotFoundError:
        return None
    finally:
        await connection.close()


async def until_label(url: str, key: str, version: int | None) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (held := await label(url, key)) is None or held["version"] != version:
            await asyncio.sleep(0.05)
        return held


def check_whole(messages: list[dict[str, Any]], head: int) -> None:
    """Every position once, in order."""
    assert [m["body"]["position"] for m in messages] == list(range(1, head + 1))
    assert len({m["headers"]["Nats-Msg-Id"] for m in messages}) == head


async def _change(api: Api, number: int) -> int:
    await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(f"v{number}")})
    moved = await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": number})
    return moved["position"]


async def test_every_event_and_label_reaches_nats(
    tmp_path: Path, nats: Nats, database_url: str | None
) -> None:
    async with registry(tmp_path, database_url=database_url, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        await _change(api, 2)
        moved = await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": 1})
        messages = await until_published(nats.url, moved["position"])
        check_whole(messages, moved["position"])
        pages = await api.ok("GET", "/v1/events?limit=500")
        assert [m["body"] for m in messages] == pages["items"]
        last, first = messages[-1], messages[0]
        assert last["subject"] == "scrinia.v1.acme.label.moved"
        assert first["subject"] == "scrinia.v1._.ledger.created"
        assert last["headers"]["Nats-Msg-Id"] == last["body"]["id"]
        assert last["headers"]["Content-Type"] == "application/cloudevents+json"
        held = await until_label(nats.url, "acme/production/support/triage", 1)
        assert (held["ref"], held["position"]) == ("acme/support/triage@1", moved["position"])
        removed = await api.ok("DELETE", f"{PROMPT}/-/labels/production")
        held = await until_label(nats.url, "acme/production/support/triage", None)
        assert (held["ref"], held["position"]) == (None, removed["position"])
        items = (await api.ok("GET", "/v1/projections"))["items"]
        by_name = {item["projection"]: item for item in items}
        assert by_name["relay"]["kind"] == "nats" and by_name["relay-labels"]["lag"] >= 0


async def test_nats_away_costs_nothing_but_time(tmp_path: Path, nats: Nats) -> None:
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        await until_published(nats.url, api.position)
        head = 0
        for turn in range(3):
            nats.kill()
            for number in range(2 + turn * 10, 12 + turn * 10):
                head = await _change(api, number)
            lag = {
                i["projection"]: i["lag"] for i in (await api.ok("GET", "/v1/projections"))["items"]
            }
            assert lag["relay"] >= 15
            nats.start()
            check_whole(await until_published(nats.url, head), head)
            held = await until_label(nats.url, "acme/production/support/triage", 11 + turn * 10)
            assert held["position"] == head


async def test_a_server_killed_anywhere_in_between_repeats_nothing(
    tmp_path: Path, nats: Nats
) -> None:
    server = Process(tmp_path / "data", {"SCRINIA_NATS_URL": nats.url})
    server.start()
    api = server.client()
    api.ok("POST", "/v1/projects", {"project": "acme"})
    api.ok("POST", "/v1/projects/acme/prompts",
           {"name": "support/triage", "content": text_content("v1")})  # fmt: skip
    for turn in range(4):
        for number in range(40):
            api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(f"{turn}-{number}")})
        server.kill()
        server.start()
        api = server.client()
    head = api.ok("GET", "/v1/events?limit=1")["head"]
    check_whole(await until_published(nats.url, head), head)
    assert server.stop() == 0


async def test_a_relay_that_is_killed_is_taken_over(
    tmp_path: Path, nats: Nats, database_url: str | None
) -> None:
    """Three processes; whichever relays dies under load, again and again."""
    import psutil

    env = {"SCRINIA_DATABASE_URL": database_url or "", "SCRINIA_NATS_URL": nats.url,
           "SCRINIA_PROCESSES": "3"}  # fmt: skip
    server = Process(tmp_path / "data", env)
    server.start()
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    for turn in range(4):
        for number in range(20):
            body = {"name": f"p{turn}-{number}", "content": text_content("x")}
            await asyncio.to_thread(client.ok, "POST", "/v1/projects/acme/prompts", body)
        supervisor = psutil.Process(server.process.pid)
        async with asyncio.timeout(20):
            while len(children := supervisor.children()) < 3:
                await asyncio.sleep(0.1)
        children[turn % 3].kill()
        client = server.client()
        await asyncio.to_thread(_until_answered, client)
    head = client.ok("GET", "/v1/events?limit=1")["head"]
    check_whole(await until_published(nats.url, head), head)
    assert server.stop() == 0


def _until_answered(client: Any) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if client.call("GET", "/v1/whoami").status == 200:
                return
        except OSError:
            pass
        client.session.close()
        time.sleep(0.1)
    raise AssertionError("nobody answers")


async def test_a_label_never_goes_back(tmp_path: Path, nats: Nats) -> None:
    """A relay that comes late, with an older move, leaves the newer value."""
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        await _change(api, 2)
        await _change(api, 3)
        await until_label(nats.url, "acme/production/support/triage", 3)
        bucket = api.services.relay.sinks[1]
        events = await api.services.follower.read(0)
        older = [e for e in events if e.kind_verb == "label.moved"][:1]
        await bucket.send(older)
        assert (await label(nats.url, "acme/production/support/triage"))["version"] == 3


async def test_the_keys_of_a_moved_prompt_say_where_it_went(tmp_path: Path, nats: Nats) -> None:
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        await _change(api, 2)
        await until_label(nats.url, "acme/production/support/triage", 2)
        path = "/v1/projects/acme/prompts/support/triage/-/move"
        await api.ok("POST", path, {"name": "help/triage"})
        await until_label(nats.url, "acme/production/help/triage", 2)
        old = await label(nats.url, "acme/production/support/triage")
        assert (old["version"], old["moved_to"]) == (None, "help/triage")


async def test_a_stream_or_bucket_that_was_lost_is_filled_again(tmp_path: Path, nats: Nats) -> None:
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        head = await _change(api, 2)
        await until_label(nats.url, "acme/production/support/triage", 2)
    connection = await client.connect(nats.url)
    await connection.jetstream().delete_stream(STREAM)
    await connection.jetstream().delete_key_value(BUCKET)
    await connection.close()
    async with registry(tmp_path, nats_url=nats.url):
        check_whole(await until_published(nats.url, head), head)
        await until_label(nats.url, "acme/production/support/triage", 2)


async def _with_js(url: str, act: Any) -> None:
    connection = await client.connect(url)
    try:
        await act(connection.jetstream())
    finally:
        await connection.close()


async def test_what_others_do_to_the_bucket_and_the_stream_is_borne(
    tmp_path: Path, nats: Nats
) -> None:
    """A key deleted, a foreign message published, the last one deleted."""
    key = "acme/production/support/triage"
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        await _change(api, 2)
        await until_label(nats.url, key, 2)

        async def delete_key(js: Any) -> None:
            await (await js.key_value(BUCKET)).delete(key)

        await _with_js(nats.url, delete_key)
        head = await _change(api, 3)
        await until_label(nats.url, key, 3)
        await until_published(nats.url, head)

        async def publish(js: Any) -> None:
            await js.publish("scrinia.v1.acme.label.moved", b"not ours")

        await _with_js(nats.url, publish)
        head = await _change(api, 4)
        await until_label(nats.url, key, 4)
    connection = await client.connect(nats.url)
    js = connection.jetstream()
    info = await js.stream_info(STREAM)
    assert await js.delete_msg(STREAM, info.state.last_seq)
    await connection.close()
    async with registry(tmp_path, nats_url=nats.url) as api:
        await _change(api, 5)
        await until_label(nats.url, key, 5)


async def test_another_ledgers_stream_is_refused(tmp_path: Path, nats: Nats) -> None:
    async with registry(tmp_path / "one", nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        before = await until_published(nats.url, api.position)
    async with registry(tmp_path / "two", nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        await _change(api, 2)
        await asyncio.sleep(1.5)
        assert api.services.relay.positions["relay"] == 0 and not api.services.relay.connected
    assert [m["body"] for m in await published(nats.url)] == [m["body"] for m in before]


@pytest.mark.parametrize("kind", ["credentials", "wrong"])
async def test_a_server_that_asks_who_one_is(tmp_path: Path, kind: str) -> None:
    import nkeys

    pair = nkeys.from_seed(nkeys.encode_seed(b"0" * 32, nkeys.PREFIX_BYTE_USER))
    config = tmp_path / "nats.conf"
    config.write_text("authorization { users: [ { nkey: %s } ] }" % pair.public_key.decode())
    server = Nats("-c", str(config))
    server.start()
    seed = tmp_path / "seed"
    other = nkeys.from_seed(nkeys.encode_seed(b"1" * 32, nkeys.PREFIX_BYTE_USER))
    seed.write_bytes(bytes((pair if kind == "credentials" else other).seed))
    try:
        async with registry(tmp_path, nats_url=server.url, nats_nkey_seed_file=seed) as api:
            await api.make_prompt("acme/support/triage", "v1")
            relay = api.services.relay
            await asyncio.sleep(1 if kind == "wrong" else 0)
            if kind == "credentials":
                async with asyncio.timeout(15):
                    while relay.positions["relay"] < api.position:
                        await asyncio.sleep(0.05)
            else:
                assert relay.positions["relay"] == 0 and not relay.connected
    finally:
        server.stop()


async def test_tls_a_certificate_and_an_nkey(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, issued in (
        ("server", authority.issue_cert("localhost", "127.0.0.1")),
        ("client", authority.issue_cert("relay")),
    ):
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(tmp_path / f"{name}.pem"), append=True)
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "seed").write_bytes(seed)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    (tmp_path / "nats.conf").write_text(
        f"""tls {{cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key",
             ca_file: "{tmp_path}/ca.pem", verify: true}}
        authorization {{users: [{{nkey: {public}}}]}}"""
    )
    server = Nats("-c", str(tmp_path / "nats.conf"))
    server.start()
    files = {
        "nats_tls_ca_file": tmp_path / "ca.pem",
        "nats_tls_cert_file": tmp_path / "client.pem",
        "nats_tls_key_file": tmp_path / "client.key",
        "nats_nkey_seed_file": tmp_path / "seed",
    }
    try:
        url = server.url.replace("nats://", "tls://")
        async with registry(tmp_path / "a", nats_url=url, **files) as api:
            await api.make_prompt("acme/p")
            async with asyncio.timeout(15):
                while api.services.relay.positions["relay"] < api.position:
                    await asyncio.sleep(0.05)
        del files["nats_nkey_seed_file"]
        async with registry(tmp_path / "b", nats_url=url, **files) as api:
            await asyncio.sleep(0.5)
            assert not api.services.relay.connected
    finally:
        server.stop()


DOCUMENT = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())


def test_the_document_names_what_there_is() -> None:
    channels = DOCUMENT["channels"]
    parameters = channels["events"]["parameters"]
    assert set(parameters["kind"]["enum"]) - {"content"} == {
        t.split(".")[0] for t in KINDS_AND_VERBS
    }
    assert set(parameters["verb"]["enum"]) == {t.split(".")[1] for t in KINDS_AND_VERBS}
    assert channels["events"]["address"].startswith(SUBJECTS.removesuffix(">"))
    assert STREAM in channels["events"]["title"] and BUCKET in channels["labels"]["title"]


async def test_messages_are_as_documented(tmp_path: Path, nats: Nats) -> None:
    messages = DOCUMENT["components"]["messages"]
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        body = {"version": 1}
        moved = await api.ok("PUT", f"{PROMPT}/-/labels/production", body, headers=trace)
        await api.ok("DELETE", f"{PROMPT}/-/labels/production")
        for message in await until_published(nats.url, api.position):
            jsonschema_rs.validate(messages["event"]["payload"], message["body"])
            jsonschema_rs.validate(messages["event"]["headers"], dict(message["headers"]))
            if message["body"]["position"] == moved["position"]:
                assert message["headers"]["traceparent"] == trace["traceparent"]
        held = await until_label(nats.url, "acme/production/support/triage", None)
        jsonschema_rs.validate(messages["label"]["payload"], held)


async def test_the_example_consumer_survives_restarts(tmp_path: Path, nats: Nats) -> None:
    consumer = [sys.executable, str(ROOT / "deploy" / "examples" / "consumer.py"), "svc",
                "scrinia.v1.acme.>"]  # fmt: skip
    environment = {**os.environ, "SCRINIA_NATS_URL": nats.url}
    log = tmp_path / "consumed"
    async with registry(tmp_path, nats_url=nats.url) as api:
        await api.make_prompt("acme/support/triage", "v1")
        for turn in range(3):
            with log.open("ab") as out:
                process = subprocess.Popen(consumer, cwd=tmp_path, env=environment, stdout=out)
            try:
                if turn == 1:
                    nats.kill()
                    nats.start()
                head = await _change(api, turn + 2)
                async with asyncio.timeout(20):
                    while str(head) not in [line.split(" ")[0] for line in _lines(log)]:
                        await asyncio.sleep(0.1)
            finally:
                process.kill()
                process.wait()
    positions = [int(line.split(" ")[0]) for line in _lines(log)]
    assert positions == list(range(6, head + 1)), "each event of the project once, in order"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_what_a_new_epoch_lost_is_not_left_in_nats(tmp_path: Path, nats: Nats) -> None:
    """The relay does not go on after events that this ledger never had."""
    env = {"SCRINIA_NATS_URL": nats.url}
    old = Process(tmp_path / "old" / "data", env)
    old.data_dir.parent.mkdir()
    old.start()
    client_ = old.client()
    client_.ok("POST", "/v1/projects", {"project": "acme"})
    old.cli("backup", str(tmp_path / "backup"), "--with-secrets")
    lost = client_.ok("POST", "/v1/projects", {"project": "lost"})["position"]
    asyncio.run(until_published(nats.url, lost))
    assert old.stop() == 0
    new = Process(tmp_path / "new" / "data", env)
    new.data_dir.mkdir(parents=True)
    shutil.copy(old.data_dir / "checkpoint", new.data_dir / "checkpoint")
    new.cli("restore", str(tmp_path / "backup"), "--new-epoch", "-m", "x")
    new.start()
    head = new.client().ok("POST", "/v1/projects", {"project": "found"})["position"]
    asyncio.run(asyncio.sleep(1.5))
    assert "began a new epoch" in (tmp_path / "new" / "serve.log").read_text()
    assert asyncio.run(published(nats.url))[-1]["body"]["position"] == lost

    async def start_anew() -> list[dict[str, Any]]:
        connection = await client.connect(nats.url)
        js = connection.jetstream()
        await js.delete_stream(STREAM)
        await js.delete_key_value(BUCKET)
        await connection.close()
        return await until_published(nats.url, head)

    messages = asyncio.run(start_anew())
    check_whole(messages, head)
    assert messages[-2]["body"]["type"] == "io.scrinia.epoch.begun.v1"
    assert new.stop() == 0
