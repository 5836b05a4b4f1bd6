"""Who is told, of what, in which order, and what happens where nobody listens."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from standardwebhooks import WebhookVerificationError

from domain.keys import WEBHOOK_PURPOSE
from ledger.errors import KeyFileError
from ledger.keyfiles import create_secret
from tests.harness import ROOT, Api, Process, registry, text_content, verify
from tests.webhooks.receiver import LOOPBACK, receiver, until

PROMPT = "/v1/projects/acme/prompts/support/triage"


@pytest.fixture
async def api(tmp_path: Path, database_url: str | None) -> Any:
    options = {"database_url": database_url, "webhook_allowed_networks": LOOPBACK}
    async with registry(tmp_path, **options) as client:
        await client.make_prompt("acme/support/triage", "v1")
        yield client


async def hook(api: Api, url: str, **fields: Any) -> dict[str, Any]:
    return await api.ok("POST", "/v1/webhooks", {"url": url, **fields})


async def change(api: Api, number: int) -> int:
    await api.ok("POST", f"{PROMPT}/-/versions", {"content": text_content(f"v{number}")})
    moved = await api.ok("PUT", f"{PROMPT}/-/labels/production", {"version": number})
    return moved["position"]


async def disabled(api: Api) -> dict[str, Any]:
    """What the trail says of a webhook that was disabled: by the registry, so at no known time."""
    async with asyncio.timeout(10):
        while not (items := (await api.ok("GET", "/v1/audit?action=webhook.disabled"))["items"]):
            await asyncio.sleep(0.05)
    return items[0]


async def test_a_receiver_gets_every_event_in_order_and_signed(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url)
        for number in range(2, 12):
            await change(api, number)
        await far.until(20)
        assert far.positions == list(range(made["position"] + 1, api.position + 1))
        events = await api.ok("GET", f"/v1/events?after={made['position']}&limit=500")
        assert [
            {name: value for name, value in body.items() if name != "timestamp"}
            for body in far.bodies
        ] == events["items"]
        for index, (headers, raw) in enumerate(far.got):
            assert far.verify(made["secret"], index) == json.loads(raw)
            assert headers["webhook-id"] == json.loads(raw)["id"]
            assert headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            far.verify("whsec_" + "A" * 43 + "=")
        await until(api, made["webhook_id"], position=api.position, lag=0, attempts=0)


async def test_it_is_told_of_what_it_asked_for(api: Api) -> None:
    await api.make_prompt("acme/sales/pitch", "x")
    await api.make_prompt("other/thing", "x")
    async with receiver() as labels, receiver() as folder, receiver() as project:
        await hook(api, labels.url, types=["label"], labels=["production"])
        await hook(api, folder.url, project="acme", folder="support", types=["version.committed"])
        await hook(api, project.url, project="other")
        pitch = "/v1/projects/acme/prompts/sales/pitch"
        await api.ok("POST", f"{pitch}/-/versions", {"content": text_content("y")})
        await api.ok("PUT", f"{pitch}/-/labels/canary", {"version": 2})
        await api.ok("PUT", f"{pitch}/-/labels/production", {"version": 1})
        await change(api, 2)
        await api.ok("PUT", "/v1/projects/other/prompts/thing/-/labels/a", {"version": 1})
        await labels.until(2)
        await folder.until(1)
        await project.until(1)
        await asyncio.sleep(0.3)
        assert [(b["type"], b["subject"], b["data"]["label"]) for b in labels.bodies] == [
            ("io.scrinia.label.moved.v3", "projects/acme/prompts/sales/pitch", "production"),
            ("io.scrinia.label.moved.v3", "projects/acme/prompts/support/triage", "production"),
        ]
        assert [b["data"]["number"] for b in folder.bodies] == [2]
        assert [b["data"]["label"] for b in project.bodies] == ["a"]


async def test_what_fails_is_tried_again_and_nothing_overtakes(api: Api) -> None:
    refused: list[int] = []

    def twice(body: dict[str, Any]) -> int:
        refused.append(body["position"])
        return 503 if refused.count(body["position"]) < 3 and body["data"].get("number") else 200

    async with receiver(twice) as far:
        made = await hook(api, far.url, project="acme")
        await change(api, 2)
        await far.until(4)
        assert far.positions == [made["position"] + 1] * 3 + [made["position"] + 2]
        assert len({headers["webhook-id"] for headers, _ in far.got}) == 2
        await until(api, made["webhook_id"], lag=0)
        page = await api.ok("GET", f"/v1/webhooks/{made['webhook_id']}/deliveries")
        assert [(d["attempt"], d["status"]) for d in page["items"]] == [
            (1, 200), (3, 200), (2, 503), (1, 503),
        ]  # fmt: skip
        path = f"/v1/webhooks/{made['webhook_id']}/deliveries?failed=true"
        failed = await api.ok("GET", path + "&limit=1")
        assert [d["attempt"] for d in failed["items"]] == [2] and failed["next_cursor"]
        rest = await api.ok("GET", path + f"&cursor={failed['next_cursor']}")
        assert [d["attempt"] for d in rest["items"]] == [1] and rest["next_cursor"] is None


async def test_one_that_is_away_holds_up_no_other(api: Api) -> None:
    async with receiver() as far:
        away = await hook(api, "http://127.0.0.1:9/nobody")
        await hook(api, far.url, project="acme")
        await change(api, 2)
        await far.until(2)
        item = await until(api, away["webhook_id"])
        while not item["attempts"]:
            item = await until(api, away["webhook_id"])
        assert item["failing_since"] and item["next_attempt_at"] and item["lag"] > 0
        page = await api.ok("GET", f"/v1/webhooks/{away['webhook_id']}/deliveries")
        assert {(d["status"], d["error"]) for d in page["items"]} == {(None, "cannot_connect")}


async def test_secrets_overlap_while_they_rotate(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url, project="acme")
        path = f"/v1/webhooks/{made['webhook_id']}"
        rotated = await api.ok("POST", f"{path}/rotate-secret", {"overlap_hours": 1})
        assert rotated["secret"] != made["secret"]
        await change(api, 2)
        await far.until(2)
        assert far.verify(made["secret"]) and far.verify(rotated["secret"])
        last = await api.ok("POST", f"{path}/rotate-secret", {"overlap_hours": 0})
        assert [s["number"] for s in (await api.ok("GET", path))["secrets"]] == [3]
        await change(api, 3)
        await far.until(4)
        assert far.verify(last["secret"])
        for gone in (made, rotated):
            with pytest.raises(WebhookVerificationError):
                far.verify(gone["secret"])


async def test_a_secret_is_shown_once_and_kept_nowhere(api: Api) -> None:
    body = {"url": "https://example.com/hook"}
    key = {"Idempotency-Key": "once"}
    made = await api.call("POST", "/v1/webhooks", body, headers=key)
    again = await api.call("POST", "/v1/webhooks", body, headers=key)
    assert made.headers["Cache-Control"] == "no-store"
    assert again.body["secret"] is None and again.body["webhook_id"] == made.body["webhook_id"]
    secret = made.body["secret"]
    for path in ("/v1/events?limit=500", "/v1/audit?limit=500", "/v1/webhooks"):
        assert secret not in json.dumps(await api.ok("GET", path))
    events = json.dumps(await api.ok("GET", "/v1/events?limit=500"))
    assert "example.com" not in events


async def test_after_failing_too_long_it_is_disabled_and_the_trail_says_so(
    tmp_path: Path, database_url: str | None
) -> None:
    options = {"database_url": database_url, "webhook_allowed_networks": LOOPBACK,
               "webhook_give_up_hours": 1 / 3600}  # fmt: skip
    async with registry(tmp_path, **options) as api, receiver(lambda body: 500) as far:
        await api.make_prompt("acme/support/triage", "v1")
        made = await hook(api, far.url, project="acme")
        position = await change(api, 2)
        item = await until(api, made["webhook_id"], enabled=False)
        assert set(far.positions) == {position - 1}
        record = await disabled(api)
        assert record["actor"]["type"] == "system"
        assert record["resource"] == f"projects/acme/webhooks/{made['webhook_id']}"
        assert "hours" in record["reason"] and record["authz"]["policy"] == "system/1"
        assert record["after"] == {"cause": "failing", "enabled": False}
        far.answer = lambda body: 200
        tried = len(far.got)
        await api.ok("PATCH", f"/v1/webhooks/{made['webhook_id']}", {"enabled": True})
        await far.until(tried + 2)
        assert far.positions[tried : tried + 2] == [position - 1, position]
        item = await until(api, made["webhook_id"], lag=0)
        assert item["attempts"] == 0 and item["failing_since"] is None
    assert verify(tmp_path / "data", database_url).faults == []


async def test_gone_is_the_receivers_word_for_stop(api: Api) -> None:
    async with receiver(lambda body: 410) as far:
        made = await hook(api, far.url, project="acme")
        await change(api, 2)
        await until(api, made["webhook_id"], enabled=False)
        assert len(far.got) == 1
        assert (await disabled(api))["after"]["cause"] == "gone"


async def test_another_url_is_tried_at_once(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, "http://127.0.0.1:9/nobody", project="acme")
        await change(api, 2)
        item = await until(api, made["webhook_id"])
        while item["attempts"] < 2:
            item = await until(api, made["webhook_id"])
        await api.ok("PATCH", f"/v1/webhooks/{made['webhook_id']}", {"url": far.url})
        await far.until(2, seconds=3)


async def test_it_can_be_told_again_from_any_position(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url, project="acme")
        await change(api, 2)
        await far.until(2)
        path = f"/v1/webhooks/{made['webhook_id']}/redeliver"
        answer = await api.call("POST", path, {"after": 0})
        assert answer.status == 202 and answer.body["position"] == 0
        events = await api.ok("GET", "/v1/events?project=acme&limit=500")
        wanted = [item["position"] for item in events["items"]]
        await far.until(2 + len(wanted))
        assert far.positions[2:] == wanted
        beyond = await api.call("POST", path, {"after": api.position + 1000})
        assert (beyond.status, beyond.code) == (400, "invalid_parameter")


async def test_a_test_message_says_whether_it_arrives(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url)
        path = f"/v1/webhooks/{made['webhook_id']}"
        sent = await api.ok("POST", f"{path}/test")
        assert (sent["delivered"], sent["status"], sent["error"]) == (True, 204, None)
        assert far.verify(made["secret"])["type"] == "io.scrinia.webhook.test.v1"
        far.answer = lambda body: 302
        far.headers = {"Location": far.url}
        sent = await api.ok("POST", f"{path}/test")
        assert (sent["delivered"], sent["status"]) == (False, 302) and len(far.got) == 2
        assert (await api.ok("GET", f"{path}/deliveries"))["items"] == []


async def test_a_retry_gets_the_first_answer_whatever_became_of_the_webhook(api: Api) -> None:
    made = await hook(api, "https://localhost/", project="acme")
    path = f"/v1/webhooks/{made['webhook_id']}"
    for method, below, body in (("PATCH", "", {"types": ["label"]}),
                                ("POST", "/rotate-secret", None), ("DELETE", "", None)):  # fmt: skip
        key = {"Idempotency-Key": f"{method}{below}"}
        first = await api.call(method, path + below, body, headers=key)
        again = await api.call(method, path + below, body, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (again.status, again.body["position"]) == (first.status, first.body["position"])


async def test_deleted_is_gone(api: Api) -> None:
    async with receiver() as far:
        made = await hook(api, far.url, project="acme")
        path = f"/v1/webhooks/{made['webhook_id']}"
        await api.ok("DELETE", path, {"reason": "moved"})
        await change(api, 2)
        for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"),
                              ("POST", "/rotate-secret"), ("GET", "/deliveries")):  # fmt: skip
            body = {} if method == "PATCH" else None
            assert (await api.call(method, path + below, body)).status == 404, (method, below)
        await asyncio.sleep(0.3)
        assert far.got == [] and (await api.ok("GET", "/v1/webhooks"))["items"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "ftp://example.com"}, "invalid_webhook"),
        ({"url": "https://user:secret@example.com/"}, "invalid_webhook"),
        ({"url": "https://example.com/#part"}, "invalid_webhook"),
        ({"url": "https://example.com/a b"}, "invalid_webhook"),
        ({"url": "https://"}, "invalid_webhook"),
        ({"url": "https://example.com:70000/"}, "invalid_webhook"),
        ({"url": "https://[::1"}, "invalid_webhook"),
        ({"url": "https://exämple.com"}, "invalid_webhook"),
        ({"url": "https://a..b/"}, "invalid_webhook"),
        ({"url": "https://[v1.a]/"}, "invalid_webhook"),
        ({"url": "https://1.2.3.4.5/"}, "invalid_webhook"),
        ({"url": f"https://{'a' * 64}.example/"}, "invalid_webhook"),
        ({"url": "https://10.0.0.1/"}, "address_refused"),
        ({"url": "https://[fe80::1]/"}, "address_refused"),
        ({"url": "https://example.com", "types": ["label.flown"]}, "invalid_webhook"),
        ({"url": "https://example.com", "labels": ["latest"]}, "invalid_webhook"),
        ({"url": "https://example.com", "folder": "support"}, "invalid_scope"),
        ({"url": "https://example.com", "project": "nowhere"}, "not_found"),
        ({"url": "https://example.com", "types": ["label"] * 65}, "invalid_request"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    api: Api, body: dict[str, Any], code: str
) -> None:
    answer = await api.call("POST", "/v1/webhooks", body)
    assert 400 <= answer.status < 500 and answer.code == code, answer.body
    assert (await api.ok("GET", "/v1/webhooks"))["items"] == []


async def test_changes_say_what_they_change(api: Api) -> None:
    made = await hook(api, "https://example.com/a", project="acme", types=["label"])
    path = f"/v1/webhooks/{made['webhook_id']}"
    same = await api.ok("PATCH", path, {"url": "https://example.com/a", "types": ["label"]})
    assert not same["changed"]
    read = await api.call("GET", path)
    stale = await api.call("PATCH", path, {"types": []}, headers={"If-Match": '"77"'})
    assert stale.status == 412
    match = {"If-Match": read.headers["ETag"]}
    body = {"types": ["version"], "description": "ours", "enabled": False, "reason": "quiet"}
    assert (await api.ok("PATCH", path, body, headers=match))["enabled"] is False
    item = await api.ok("GET", path)
    assert (item["types"], item["description"], item["enabled"]) == (["version"], "ours", False)
    trail = await api.ok("GET", f"/v1/audit?resource=projects/acme/webhooks/{made['webhook_id']}")
    assert [r["action"] for r in trail["items"]] == [
        "webhook.created", "webhook.changed", "webhook.disabled",
    ]  # fmt: skip
    assert trail["items"][1]["before"] == {"types": ["label"], "description": None}
    assert trail["items"][1]["after"] == {"types": ["version"], "description": "ours"}
    assert trail["items"][2]["reason"] == "quiet"


def test_deliveries_go_on_over_kills(tmp_path: Path, postgres: Any) -> None:
    """Three processes, the one that delivers killed again and again: each event at least once, in
    order but for what is told again."""
    env = {"SCRINIA_DATABASE_URL": postgres.database(), "SCRINIA_PROCESSES": "3",
           "SCRINIA_WEBHOOK_ALLOWED_NETWORKS": LOOPBACK, "SCRINIA_LOG_LEVEL": "ERROR"}  # fmt: skip
    server = Process(tmp_path / "data", env)
    server.start()
    try:
        asyncio.run(_over_kills(server))
    finally:
        stopped = server.stop()
    assert stopped == 0


async def _over_kills(server: Process) -> None:
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    client.ok("POST", "/v1/projects/acme/prompts", {"name": "p", "content": text_content("v1")})
    async with receiver() as far:
        made = client.ok("POST", "/v1/webhooks", {"url": far.url, "project": "acme"})
        path = "/v1/projects/acme/prompts/p/-/versions"
        for number in range(2, 62):
            await asyncio.to_thread(_commit, server, path, number)
            if number % 20 == 0:
                for child in psutil.Process(server.process.pid).children()[:2]:
                    child.kill()
        head = made["position"] + 60
        async with asyncio.timeout(30):
            while not far.got or far.positions[-1] < head:
                await asyncio.sleep(0.1)
        assert list(dict.fromkeys(far.positions)) == list(range(made["position"] + 1, head + 1))
        assert len(far.got) < 75


def _commit(server: Process, path: str, number: int) -> None:
    client = server.client()
    headers = {"Idempotency-Key": f"v{number}"}
    body = {"content": text_content(f"v{number}")}
    for _ in range(100):
        try:
            if client.call("POST", path, body, headers=headers).status in (200, 201):
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("nobody takes it")


def test_from_the_command_line_to_the_example_receiver(server: Process) -> None:
    server.stop()
    server.env["SCRINIA_WEBHOOK_ALLOWED_NETWORKS"] = LOOPBACK
    server.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server.cli("project", "create", "acme")
    url = f"http://127.0.0.1:{port}/"
    made = server.cli("webhook", "create", url, "--project", "acme", "--type", "version").stdout
    webhook_id, secret = made.split()
    assert server.cli("webhook", "test", webhook_id, check=False).returncode == 1
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    example = ROOT / "deploy" / "examples" / "receiver.py"
    command = [sys.executable, "-u", str(example), str(port)]
    far = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while server.cli("webhook", "test", webhook_id, check=False).returncode:
            assert time.monotonic() < deadline
        client = server.client()
        body = {"name": "p", "content": text_content("v1")}
        client.ok("POST", "/v1/projects/acme/prompts", body)
        told = [far.stdout.readline() for _ in range(2)]
        assert "webhook.test" in told[0] and "version.committed" in told[1]
        listed = server.cli("--json", "webhook", "list").stdout
        assert json.loads(listed)["items"][0]["webhook_id"] == webhook_id
        assert "204" in server.cli("webhook", "deliveries", webhook_id).stdout
        server.cli("webhook", "redeliver", webhook_id, "--after", "0")
        server.cli("webhook", "disable", webhook_id, "-m", "quiet")
        server.cli("webhook", "enable", webhook_id)
        server.cli("webhook", "change", webhook_id, "--label", "production")
        assert server.cli("webhook", "rotate-secret", webhook_id).stdout.startswith("whsec_")
        server.cli("webhook", "delete", webhook_id)
        assert json.loads(server.cli("--json", "webhook", "list").stdout)["items"] == []
    finally:
        far.kill()
        far.wait()


async def test_a_host_with_another_key_signs_nothing(tmp_path: Path) -> None:
    options = {"webhook_allowed_networks": LOOPBACK}
    async with receiver() as far:
        async with registry(tmp_path, **options) as api:
            made = await hook(api, far.url)
        key = tmp_path / "data" / "keys" / "webhook.key"
        key.unlink()
        with pytest.raises(KeyFileError, match="webhook"):
            async with registry(tmp_path, **options):
                pass
        create_secret(key, WEBHOOK_PURPOSE)
        async with registry(tmp_path, **options) as api:
            path = f"/v1/webhooks/{made['webhook_id']}"
            assert (await api.ok("POST", f"{path}/test"))["error"] == "other_webhook_key"
            rotated = await api.ok("POST", f"{path}/rotate-secret")
            assert (await api.ok("POST", f"{path}/test"))["delivered"]
            assert far.verify(rotated["secret"])


async def test_a_registry_from_before_gets_its_key(tmp_path: Path) -> None:
    async with registry(tmp_path):
        pass
    (tmp_path / "data" / "keys" / "webhook.key").unlink()
    async with registry(tmp_path) as api:
        await hook(api, "https://localhost/")
