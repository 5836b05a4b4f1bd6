"""The formats others verify: payload, entry, tree, notes; types resolve from a closed list."""

import json
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
import rfc8785
from eventsourcing.domain import Aggregate
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from domain.topics import AGGREGATES, event_classes
from ledger import note, payload, signing
from ledger.errors import NoteError, PayloadTooLargeError, UnknownTypeError
from ledger.mapper import TypeRegistry
from ledger.merkle import EMPTY_ROOT, CompactRange, node_hash
from ledger.note import Checkpoint, VerifierKey
from ledger.signing import LOW_ORDER_POINTS, Signer, is_signed

GOLDEN = Path(__file__).parents[1] / "golden" / "events.jsonl"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda children: (
        st.lists(children)
        | st.dictionaries(st.text(alphabet=st.characters(max_codepoint=0x7F)), children)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(alphabet=st.characters(max_codepoint=0x7F)), JSON))
def test_a_payload_is_written_exactly_as_rfc_8785_says(fields: dict) -> None:
    assert payload.encode(fields) == rfc8785.dumps(fields)


def test_a_payload_has_a_limit() -> None:
    with pytest.raises(PayloadTooLargeError):
        payload.encode({"data": "x" * payload.PAYLOAD_BYTES_MAX})


def test_the_pae_is_dsse_s() -> None:
    # The example of the DSSE specification, protocol.md, v1.0.2.
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert (
        payload.pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld")
        == expected
    )


def test_an_entry_is_a_canonical_dsse_envelope() -> None:
    entry = payload.entry(b'{"a":1}', "sha256:00", b"s" * 64)
    assert rfc8785.dumps(json.loads(entry)) == entry
    assert json.loads(entry) == {
        "payload": b64encode(b'{"a":1}').decode(),
        "payloadType": "application/vnd.scrinia.event.v1+json",
        "signatures": [{"keyid": "sha256:00", "sig": b64encode(b"s" * 64).decode()}],
    }
    largest = payload.entry(b"x" * payload.PAYLOAD_BYTES_MAX, "sha256:" + "0" * 64, b"s" * 64)
    assert len(largest) <= payload.ENTRY_BYTES_MAX
    assert payload.leaf_hash(b'{"a":1}', "sha256:00", b"s" * 64) == sha256(b"\0" + entry).digest()


def _naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_naive_root(leaves[:split]), _naive_root(leaves[split:]))


def test_the_compact_range_agrees_with_a_naive_tree() -> None:
    leaves = [sha256(bytes([n % 256, n // 256])).digest() for n in range(300)]
    tree = CompactRange()
    for size, leaf in enumerate(leaves, 1):
        tree.append(leaf)
        assert tree.root() == _naive_root(leaves[:size])
        assert CompactRange.from_bytes(size, tree.to_bytes()).root() == tree.root()
    with pytest.raises(ValueError, match="compact range"):
        CompactRange.from_bytes(3, b"x" * 32)


def test_rfc_6962_test_vectors() -> None:
    # certificate-transparency's own vectors: inputs "", 00, 10, 2021, 3031, …
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
              "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    tree = CompactRange()
    for text in inputs:
        tree.append(sha256(b"\0" + bytes.fromhex(text)).digest())
        if tree.size in roots:
            assert tree.root().hex() == roots[tree.size]


SIGNER = Signer(b"k" * 32)
KEY = VerifierKey("scrinia/test", SIGNER.public_key)
TEXT = Checkpoint("scrinia/test", 7, b"r" * 32).text()


def test_a_note_opens_with_its_key_and_no_other() -> None:
    signed = note.sign(TEXT, "scrinia/test", SIGNER)
    assert note.open_note(signed, [KEY]) == TEXT
    assert Checkpoint.parse(TEXT) == Checkpoint("scrinia/test", 7, b"r" * 32)
    assert VerifierKey.parse(str(KEY)) == KEY
    stranger = VerifierKey("scrinia/test", Signer(b"x" * 32).public_key)
    with pytest.raises(NoteError):
        note.open_note(signed, [stranger])
    both = signed + note.sign(TEXT, "other", Signer(b"y" * 32)).rsplit(b"\n\n", 1)[1]
    assert note.open_note(both, [KEY]) == TEXT


def test_the_example_of_the_note_specification_opens() -> None:
    # Go's golang.org/x/mod/sumdb/note documentation.
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    signed = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
        "qdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert note.open_note(signed.encode(), [key]).startswith("If you think")


@pytest.mark.parametrize(
    "broken",
    [
        lambda n: n.replace(b"\n7\n", b"\n8\n"),
        lambda n: n[:-1],
        lambda n: n.replace(b"\n\n", b"\n"),
        lambda n: n.replace(b"\xe2\x80\x94 ", b"- "),
        lambda n: b"\x01" + n,
        lambda n: n + b"garbage\n",
        lambda n: b"\xff" + n,
        lambda n: n[:-10] + b"AAAAAAAA=\n",
        lambda n: b"x" * 70_000 + n,
    ],
)
def test_a_broken_note_does_not_open(broken: object) -> None:
    with pytest.raises(NoteError):
        note.open_note(broken(note.sign(TEXT, "scrinia/test", SIGNER)), [KEY])


@pytest.mark.parametrize(
    "text", ["o\n07\n" + "A" * 43 + "=\n", "o\n7\nAAAA\n", "o\n-1\nx\n", "o\n7\n", "\n7\nx\n", ""]
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_low_order_points_are_refused_as_key_and_in_signatures() -> None:
    assert len(LOW_ORDER_POINTS) == 14
    good = SIGNER.sign(b"m")
    assert is_signed(SIGNER.public_key, b"m", good)
    for point in LOW_ORDER_POINTS:
        assert not is_signed(point, b"m", good)
        assert not is_signed(SIGNER.public_key, b"m", point + good[32:])
    assert not is_signed(SIGNER.public_key, b"m", good[:63])
    assert signing.key_id_of(bytes(SigningKey(b"k" * 32).verify_key)) == SIGNER.key_id


# Types


def test_the_golden_events_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored events of every type ever written. This file is only ever added to."""
    from ledger.mapper import SigningMapper

    mapper = SigningMapper("golden", None)
    seen = set()
    for line in GOLDEN.read_text().splitlines():
        fields = json.loads(line)
        assert rfc8785.dumps(fields).decode() == line
        event = mapper.domain_event(fields)
        data = {k.rstrip("_"): v for k, v in vars(event).items()}
        assert fields["data"].items() <= data.items()
        seen.add(fields["type"])
    written = {cls.TOPIC for kind in AGGREGATES.values() for cls in event_classes(kind)}
    assert written <= seen, "add an event of each new type to tests/golden/events.jsonl"


def test_a_fresh_process_resolves_every_type() -> None:
    code = (
        "import json, sys; from ledger.mapper import SigningMapper;"
        "m = SigningMapper('x', None);"
        "[m.domain_event(json.loads(line)) for line in open(sys.argv[1])]"
    )
    subprocess.run([sys.executable, "-c", code, str(GOLDEN)], check=True)


@pytest.mark.parametrize(
    "type_", ["os:system", "builtins:eval", "io.scrinia.prompt.created.v3",
              "io.scrinia.prompt.created.v0", "io.scrinia.nothing.done.v1", ""],
)  # fmt: skip
def test_nothing_resolves_that_is_not_in_the_list(type_: str) -> None:
    with pytest.raises(UnknownTypeError):
        TypeRegistry().resolve(type_)


class Lamp(Aggregate):
    TOPIC = "io.scrinia.lamp"

    class Created(Aggregate.Created):
        TOPIC = "io.scrinia.lamp.created.v2"
        watts: int
        colour: str
        class_version = 2

        @staticmethod
        def upcast_v1_v2(state: dict) -> None:
            state["colour"] = "white"

    def __init__(self, watts: int, colour: str) -> None:
        self.watts = watts
        self.colour = colour


def test_an_older_form_of_an_event_is_upcast_when_read() -> None:
    from ledger.mapper import SigningMapper

    mapper = SigningMapper("x", None, TypeRegistry({"lamp": Lamp}))
    fields = {
        "type": "io.scrinia.lamp.created.v1",
        "stream": "lamp/00000000-0000-7000-8000-000000000000",
        "stream_position": 1,
        "time": "2026-01-01T00:00:00.000000Z",
        "data": {"watts": 5},
    }
    lamp = mapper.domain_event(fields).mutate(None)
    assert (lamp.watts, lamp.colour) == (5, "white")
    newer = fields | {"type": "io.scrinia.lamp.created.v2", "data": {"watts": 5, "colour": "red"}}
    assert mapper.domain_event(newer).mutate(None).colour == "red"
