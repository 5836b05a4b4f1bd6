"""The registry's own keys, rotated while it runs: registered, switched, retired; then verified."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger.keyfiles import create_key, load_key
from ledger.note import sign
from ledger.signing import LOW_ORDER_POINTS, Signer
from ledger.trust import possession_text
from tests.harness import Api, Process, registry, text_content, verify


def commit(server: Process, text: str) -> int:
    client = server.client()
    path = "/v1/projects/acme/prompts/p/-/versions"
    return client.ok("POST", path, {"content": text_content(text)})["position"]


@pytest.mark.parametrize(
    ("database_url", "purpose"), [("postgres", "event"), ("sqlite", "checkpoint")],
    indirect=["database_url"],
)  # fmt: skip
def test_a_key_is_rotated_without_a_gap(server: Process, purpose: str) -> None:
    url = server.env["SCRINIA_DATABASE_URL"] or None
    client = server.client()
    client.ok("POST", "/v1/projects", {"project": "acme"})
    client.ok("POST", "/v1/projects/acme/prompts", {"name": "p", "content": text_content("1")})
    shutil.copy(server.data_dir / "trust.json", server.data_dir.parent / "trust.json")
    made = json.loads(server.cli("--json", "key", "rotate", purpose).stdout)
    early = server.cli("key", "retire", made["to_retire"], check=False)
    assert early.returncode == 1 and "still signs with that key" in early.stderr
    commit(server, "2")
    keys = server.data_dir / "keys"
    assert Path(made["file"]) == keys / f"{purpose}.key.next"
    assert server.stop() == 0
    shutil.copy(server.data_dir / "checkpoint", server.data_dir.parent / "kept")
    shutil.copy(keys / f"{purpose}.key", server.data_dir.parent / "old.key")
    (keys / f"{purpose}.key.next").replace(keys / f"{purpose}.key")
    server.start()
    commit(server, "3")
    server.cli("key", "retire", made["to_retire"])
    commit(server, "4")
    listed = json.loads(server.cli("--json", "key", "list").stdout)["items"]
    ended = {key["key_id"]: key["until"] for key in listed if key["purpose"] == purpose}
    assert ended[made["to_retire"]] and ended[made["key_id"]] is None
    last = server.cli("key", "retire", made["key_id"], check=False)
    assert last.returncode == 1
    assert "never registered" not in server.cli("doctor", check=False).stdout
    assert server.stop() == 0
    kept = server.data_dir.parent
    checked = server.cli("verify", "--trust", str(kept / "trust.json"),
                         "--checkpoint", str(kept / "kept"))  # fmt: skip
    assert "no fault" in checked.stdout
    if purpose == "checkpoint":
        _check_a_retired_key_seals_nothing(server, kept)
    shutil.copy(kept / "old.key", keys / f"{purpose}.key")
    doctored = server.cli("doctor", check=False)
    assert doctored.returncode == 3 and "retired or never registered" in doctored.stdout
    server.start()
    if purpose == "event":
        answer = server.client().call("POST", "/v1/projects", {"project": "other"})
        assert (answer.status, answer.code) == (503, "key_retired")
    else:
        commit(server, "5")
    server.stop()
    (keys / f"{purpose}.key").unlink()
    (keys / f"{purpose}.key.next").unlink(missing_ok=True)
    faults = {fault.code for fault in verify(server.data_dir, url).faults}
    assert faults <= {"E_CHECKPOINT"}  # what the last server could not seal


def _check_a_retired_key_seals_nothing(server: Process, kept: Path) -> None:
    """The very tree of now, sealed by whoever stole the old key, proves nothing."""
    lines = (server.data_dir / "checkpoint").read_text().partition("\n\n")[0].split("\n")
    text = "\n".join(lines) + "\n"
    stolen = load_key(kept / "old.key", "checkpoint")
    (kept / "forged").write_bytes(sign(text, lines[0], stolen))
    checked = server.cli("verify", "--checkpoint", str(kept / "forged"), check=False)
    assert checked.returncode == 4 and "E_NOTE" in checked.stdout


def _body(signer: Signer, ledger: str, purpose: str = "event") -> dict[str, Any]:
    proof = signer.sign(possession_text(ledger, purpose)).hex()
    return {"purpose": purpose, "public_key": signer.public_key.hex(), "proof": proof}


async def test_only_what_somebody_holds_is_registered(tmp_path: Path) -> None:
    async with registry(tmp_path) as api:
        ledger = api.services.ledger_id
        signer = create_key(tmp_path / "new.key", "event")
        good = _body(signer, ledger)
        for wrong in (
            {**good, "proof": "00" * 64},
            {**good, "purpose": "checkpoint"},
            {**good, "public_key": min(LOW_ORDER_POINTS).hex()},
            _body(signer, "another-ledger"),
        ):
            assert (await api.call("POST", "/v1/log/keys", wrong)).status == 422
        made = await api.ok("POST", "/v1/log/keys", good)
        again = await api.call("POST", "/v1/log/keys", _body(signer, ledger, "checkpoint"))
        assert (again.status, again.code) == (409, "conflict")
        await _retire(api, "sha256:" + "0" * 64, 404)
        await _retire(api, "nonsense", 400)
        await _retire(api, made["key_id"], 200)
        await _retire(api, made["key_id"], 404)
        await api.make_prompt("acme/p")
    assert verify(tmp_path / "data").faults == []


async def _retire(api: Api, key_id: str, status: int) -> None:
    answer = await api.call("DELETE", f"/v1/log/keys/{key_id}")
    assert answer.status == status, answer.body
