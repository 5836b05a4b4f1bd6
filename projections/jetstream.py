"""What NATS JetStream is given: every event in one stream, and where each label points in a bucket.

Stream `SCRINIA`, subjects `scrinia.v1.{project}.{kind}.{verb}`; bucket `scrinia-labels`, keys
`{project}/{label}/{name}` (docs/nats.md, docs/asyncapi.yaml). The stream itself says what was
published last, and each message names the one it follows, so that whatever is asked again, by
whichever process, every position is there once and in order.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import nats
import orjson
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    Header,
    KeyValueConfig,
    PubAck,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from domain.access import resource_from_text
from domain.prompt import LABEL_EVENTS, Prompt
from ledger.mapper import RecordedEvent
from projections.destinations import NatsSettings
from projections.errors import ForeignStreamError
from projections.feed import cloud_event

STREAM = "SCRINIA"
BUCKET = "scrinia-labels"
SUBJECTS = "scrinia.v1.>"
CONTENT_TYPE = "application/cloudevents+json"
DUPLICATE_WINDOW_SECONDS = 120.0
REQUEST_SECONDS = 2.0
CONNECT_SECONDS_MAX = 10.0
IN_FLIGHT_MAX = 64
LOST_RACE_SECONDS = 0.01
LOOK_BACK_MESSAGES = 1000


async def connect(settings: NatsSettings) -> Client:
    """A connection that never reconnects by itself: whoever uses it begins anew."""
    options: dict[str, Any] = {}
    if settings.credentials_file is not None:
        options["user_credentials"] = str(settings.credentials_file)
    if settings.nkey_seed_file is not None:
        options["nkeys_seed"] = str(settings.nkey_seed_file)
    if settings.tls_ca_file is not None or settings.tls_cert_file is not None:
        options["tls"] = _tls(settings)
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        return await nats.connect(
            settings.url.split(","),
            name="scrinia-relay",
            allow_reconnect=False,
            max_reconnect_attempts=1,  # also of the first connection
            reconnect_time_wait=0,
            connect_timeout=2,
            error_cb=_ignore,
            **options,
        )


async def _ignore(_: Exception) -> None:
    """What breaks shows at the next request, which is where it is handled."""


def _tls(settings: NatsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    if settings.tls_cert_file is not None:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    return context


def subject_of(recorded: RecordedEvent) -> str:
    """`scrinia.v1.{project}.{kind}.{verb}`, `_` where there is no project."""
    project = resource_from_text(recorded.resource).project or "_"
    return f"scrinia.v1.{project}.{recorded.kind_verb}"


class Sink(ABC):
    """Something in NATS that follows the ledger. `name` is its tracking row's."""

    name: str

    @abstractmethod
    async def is_missing(self, js: JetStreamContext) -> bool:
        """Whether it has to be made, and so begins at position 1."""

    @abstractmethod
    async def open(self, js: JetStreamContext, tracked: int, replicas: int) -> int:
        """Make what is missing; the position it really stands at, given where it is tracked."""

    def agrees(self, recorded: RecordedEvent) -> bool:
        """Whether what `open` found at this event's position is this event."""
        return True

    @abstractmethod
    async def send(self, batch: Sequence[RecordedEvent]) -> None:
        """Bring it to the end of `batch`; may be asked again with the same events."""


class EventStream(Sink):
    """Every event, once, in order."""

    name = "relay"

    def __init__(self, ledger_id: str) -> None:
        self._source = f"/ledgers/{ledger_id}"
        self._js: JetStreamContext | None = None
        self._sequence = 0
        self._sure = False
        self._last_id: str | None = None

    async def is_missing(self, js: JetStreamContext) -> bool:
        """See Sink."""
        try:
            await js.stream_info(STREAM)
        except NotFoundError:
            return True
        return False

    async def open(self, js: JetStreamContext, tracked: int, replicas: int) -> int:
        """See Sink. A new stream begins at position 1; one that lost its tail gets it again."""
        self._js = js
        try:
            info = await js.stream_info(STREAM)
        except NotFoundError:
            info = await js.add_stream(
                StreamConfig(
                    name=STREAM,
                    description="Scrinia's ledger as CloudEvents",
                    subjects=[SUBJECTS],
                    retention=RetentionPolicy.LIMITS,
                    storage=StorageType.FILE,
                    num_replicas=replicas,
                    duplicate_window=DUPLICATE_WINDOW_SECONDS,
                    allow_direct=True,
                )
            )
        self._sequence = info.state.last_seq
        self._sure = False
        self._last_id = None
        if info.state.messages == 0:
            return tracked if self._sequence else 0
        oldest = max(info.state.first_seq, self._sequence - LOOK_BACK_MESSAGES)
        for sequence in range(self._sequence, oldest - 1, -1):
            position = await self._position_at(js, sequence)
            if position is not None:
                return position
        return tracked

    async def _position_at(self, js: JetStreamContext, sequence: int) -> int | None:
        """The position in a message of ours; None where it was deleted or is somebody's else."""
        try:
            message = await js.get_msg(STREAM, sequence)
            body = orjson.loads(message.data or b"")
            source, position = str(body["source"]), int(body["position"])
            self._last_id = str(body["id"])
        except (NotFoundError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None
        if source != self._source:
            raise ForeignStreamError(
                f"Stream {STREAM} holds the events of {source}, not of {self._source}: use another"
                " NATS account, or delete the stream."
            )
        return position

    def agrees(self, recorded: RecordedEvent) -> bool:
        """See Sink."""
        return self._last_id in (None, recorded.payload["id"])

    async def send(self, batch: Sequence[RecordedEvent]) -> None:
        """See Sink. Each message expects the sequence before it, so none can overtake or repeat."""
        begin = 0
        while begin < len(batch) and not self._sure:
            acknowledged = await self._publish(batch[begin], self._sequence)
            begin += 1
            # A message that was deleted is known to the server for a while: it is not kept twice.
            self._sure = not acknowledged.duplicate
            self._sequence += self._sure
        for start in range(begin, len(batch), IN_FLIGHT_MAX):
            some = batch[start : start + IN_FLIGHT_MAX]
            await asyncio.gather(
                *(self._publish(one, self._sequence + n) for n, one in enumerate(some))
            )
            self._sequence += len(some)

    async def _publish(self, recorded: RecordedEvent, expected: int) -> PubAck:
        if self._js is None:
            raise RuntimeError("open the stream first")
        headers = {
            Header.MSG_ID: recorded.payload["id"],
            Header.EXPECTED_LAST_SEQUENCE: str(expected),
            "Content-Type": CONTENT_TYPE,
        }
        if trace := recorded.payload["request"].get("trace"):
            headers["traceparent"] = trace
        return await self._js.publish(
            subject_of(recorded),
            orjson.dumps(cloud_event(recorded)),
            timeout=REQUEST_SECONDS,
            stream=STREAM,
            headers=headers,
        )


class LabelBucket(Sink):
    """What each label points to now, with the position of the event that says so."""

    name = "relay-labels"

    def __init__(self) -> None:
        self._bucket: KeyValue | None = None

    async def is_missing(self, js: JetStreamContext) -> bool:
        """See Sink."""
        try:
            await js.key_value(BUCKET)
        except BucketNotFoundError:
            return True
        return False

    async def open(self, js: JetStreamContext, tracked: int, replicas: int) -> int:
        """See Sink. A bucket that was not there is filled from position 1."""
        try:
            self._bucket = await js.key_value(BUCKET)
        except BucketNotFoundError:
            self._bucket = await js.create_key_value(
                KeyValueConfig(
                    bucket=BUCKET,
                    description="Where each of Scrinia's labels points now",
                    history=1,
                    storage=StorageType.FILE,
                    replicas=replicas,
                )
            )
            return 0
        return tracked

    async def send(self, batch: Sequence[RecordedEvent]) -> None:
        """See Sink. Only the last move of each label in the batch matters."""
        newest: dict[str, dict[str, Any]] = {}
        for recorded in batch:
            for value in label_values(recorded):
                newest[f"{value['project']}/{value['label']}/{value['name']}"] = value
        for key, value in newest.items():
            await self._put(key, value)

    async def _put(self, key: str, value: dict[str, Any]) -> None:
        """Compare and set, never backwards; a lost race is looked at again."""
        if self._bucket is None:
            raise RuntimeError("open the bucket first")
        while True:
            try:
                entry = await self._bucket.get(key)
            except KeyNotFoundError as absent:  # also where somebody has deleted it
                revision = (absent.entry.revision if absent.entry else None) or 0
            else:
                if orjson.loads(entry.value or b"{}").get("position", 0) >= value["position"]:
                    return
                revision = entry.revision or 0
            try:
                await self._bucket.update(key, orjson.dumps(value), last=revision)
            except KeyWrongLastSequenceError:
                await asyncio.sleep(LOST_RACE_SECONDS)
            else:
                return


def label_values(recorded: RecordedEvent) -> Iterator[dict[str, Any]]:
    """What the bucket holds for the labels that an event concerns.

    `version` is null once a label points nowhere; a moved prompt's old keys say where it went.
    """
    event = recorded.event
    if isinstance(event, LABEL_EVENTS):
        version = event.to if isinstance(event, Prompt.LabelMoved) else None
        path = resource_from_text(recorded.resource).path or ""
        yield _label_value(recorded, path, event.label, version)
    elif isinstance(event, Prompt.Moved):
        for label, version in event.labels.items():
            yield {**_label_value(recorded, event.from_, label, None), "moved_to": event.to}
            yield _label_value(recorded, event.to, label, version)


def _label_value(
    recorded: RecordedEvent, name: str, label: str, version: int | None
) -> dict[str, Any]:
    project = resource_from_text(recorded.resource).project
    return {
        "project": project,
        "name": name,
        "label": label,
        "version": version,
        "ref": None if version is None else f"{project}/{name}@{version}",
        "position": recorded.position,
        "time": recorded.time,
    }
