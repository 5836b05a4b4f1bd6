"""What is wrong with an installation, or soon will be: each finding says what to do.

Every check looks at the real thing and changes nothing.
"""

import asyncio
import logging
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import psycopg
from eventsourcing.persistence import PersistenceError
from nats.errors import Error as NatsError

from api.main import projections, store_of, views_of
from api.settings import Settings
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, SIGN_IN_PURPOSE, WEBHOOK_PURPOSE
from domain.sign_in_secrets import SignInSecrets
from domain.webhook_signing import key_id_of
from ledger.errors import LedgerError
from ledger.ids import now
from ledger.keyfiles import load_key, load_secret
from ledger.mapper import SigningMapper
from ledger.postgres.recorder import connect
from ledger.recorder import CLOCK_SKEW_SECONDS_MAX
from ledger.repository import Repository
from projections.access import AccessView
from projections.jetstream import connect as connect_nats
from projections.webhooks import WebhookView

State = Literal["ok", "warning", "failed"]
DISK_BYTES_MIN = 1024**3
LAG_EVENTS_MAX = 1000
POSTGRES_VERSION_MIN = 140_000
NOTIFY_SECONDS = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, and what to do where it is not well."""

    check: str
    state: State
    detail: str


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> list[Finding]:
    """Every check in order; one that cannot be made is a finding too."""
    found: list[Finding] = []
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # what it says is a finding
    for name, check in _checks(settings):
        try:
            found += check(settings)
        except (LedgerError, PersistenceError, psycopg.Error, sqlite3.Error, OSError) as error:
            found.append(Finding(name, "failed", str(error).strip().partition("\n")[0]))
    return found


def _checks(settings: Settings) -> list[tuple[str, Check]]:
    checks: list[tuple[str, Check]] = [
        ("versions", _versions), ("data directory", _data_directory), ("keys", _keys),
        ("ledger", _ledger),
    ]  # fmt: skip
    if settings.on_postgres:
        checks += [("database", _postgres), ("pooler", _pooler)]
    checks.append(("read models", _views))
    if settings.nats is not None:
        checks.append(("nats", _nats))
    return checks


def _versions(settings: Settings) -> Iterator[Finding]:
    python = sys.version.split()[0]
    yield Finding("versions", "ok", f"Python {python}, SQLite {sqlite3.sqlite_version}")
    if settings.otlp_url is not None and find_spec("opentelemetry.exporter") is None:
        detail = "SCRINIA_OTLP_URL needs the extra otel: install requirements-otel.lock."
        yield Finding("versions", "failed", detail)


def _data_directory(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir
    if not path.is_dir():
        yield Finding("data directory", "failed", f"{path} is missing: run 'scrinia init'.")
        return
    if path.stat().st_mode & 0o077:
        detail = f"{path} can be read by others: run chmod 700 {path}."
        yield Finding("data directory", "warning", detail)
    free = shutil.disk_usage(path).free
    if free < DISK_BYTES_MIN:
        detail = f"{free // 1024**2} MiB are left on the disk: a full one stops every commit."
        yield Finding("disk", "warning", detail)
    else:
        yield Finding("disk", "ok", f"{free // 1024**3} GiB free")


def _keys(settings: Settings) -> Iterator[Finding]:
    directory = settings.directory
    load_key(directory.event_key, EVENT_PURPOSE)
    load_key(directory.checkpoint_key, CHECKPOINT_PURPOSE)
    load_secret(directory.webhook_key, WEBHOOK_PURPOSE)
    if not directory.sign_in_key.exists():
        yield Finding("keys", "warning", "sign-in.key is missing: the next start makes it, if"
                      " nobody has a login name; else copy it from another host")  # fmt: skip
        return
    load_secret(directory.sign_in_key, SIGN_IN_PURPOSE)
    for path in directory.key_files:
        yield Finding("keys", "ok", f"{path.name} is readable by its owner alone")
    token = settings.token_file
    if token.exists() and token.stat().st_mode & 0o077:
        detail = f"{token} can be read by others: run chmod 600 {token} and issue another token."
        yield Finding("keys", "warning", detail)


def _sign_in_key(settings: Settings, access: AccessView) -> Iterator[Finding]:
    if not settings.directory.sign_in_key.exists():
        return
    own = SignInSecrets(load_secret(settings.directory.sign_in_key, SIGN_IN_PURPOSE)).key_id
    strange = [one for one in access.sign_ins.values() if one.login_id and one.key_id != own]
    yield _expect(
        "keys", not strange, "sign-in.key is the one that login names were given by",
        f"not by which {len(strange)} login names were given: copy the file from another host, or"
        " give the names anew",
    )  # fmt: skip


def _ledger(settings: Settings) -> Iterator[Finding]:
    store = store_of(settings)
    ledger = store.ledger_id()
    with closing(store.recorder()) as recorder:
        head = recorder.head()
        last = recorder.last_checkpoint()
        durable = recorder.durability()
        mapper = SigningMapper(ledger, None)
        keys = Repository(recorder, mapper, ledger).trusted_keys()
        webhooks, access = WebhookView(), AccessView()
        webhooks.load(recorder, mapper, head, keys)
        access.load_all(recorder, mapper, head, keys)
    yield Finding("ledger", "ok", f"{ledger} in {store.place}, {head} events")
    for path, purpose in (
        (settings.directory.event_key, EVENT_PURPOSE),
        (settings.directory.checkpoint_key, CHECKPOINT_PURPOSE),
    ):
        known = keys.at(load_key(path, purpose).key_id, purpose, head + 1)
        yield _expect(
            "keys", known is not None, f"{path.name} is in force",
            "it was retired or never registered: put the one in its place that 'scrinia key list'"
            " shows without an end",
        )  # fmt: skip
    yield from _sign_in_key(settings, access)
    own = key_id_of(load_secret(settings.directory.webhook_key, WEBHOOK_PURPOSE))
    foreign = [w for w in webhooks.known.values() if w.webhook.secrets[-1].key_id != own]
    yield _expect(
        "keys", not foreign, "webhook.key is the one that webhooks' secrets come from",
        f"not those of {len(foreign)} webhooks: copy the file from the host that made them, or"
        " rotate their secrets",
    )  # fmt: skip
    sealed = last.size if last else 0
    state: State = "ok" if head - sealed <= LAG_EVENTS_MAX else "warning"
    yield Finding("seal", state, f"{head - sealed} events are not sealed yet")
    bad = {
        name: value
        for name, value in durable.items()
        if str(value).lower() in ("off", "local", "remote_write", "delete", "0", "1")
    }
    if bad:
        named = ", ".join(f"{name}={value}" for name, value in bad.items())
        detail = f"{named}: an acknowledged command can be lost with the power. Turn it on."
        yield Finding("durability", "failed", detail)
    else:
        yield Finding("durability", "ok", ", ".join(f"{n}={v}" for n, v in durable.items()))


def _postgres(settings: Settings) -> Iterator[Finding]:
    with closing(connect(str(settings.database_url))) as connection:
        version = connection.info.server_version
        yield _expect(
            "database", version >= POSTGRES_VERSION_MIN, f"PostgreSQL {version // 10_000}",
            "is older than 14: upgrade it",
        )  # fmt: skip
        asked = time.monotonic()
        clock = _one(connection, "SELECT clock_timestamp()")
        skew = abs((clock - now()).total_seconds()) - (time.monotonic() - asked)
        yield _expect(
            "clock", skew < CLOCK_SKEW_SECONDS_MAX / 2, f"{max(skew, 0):.1f} s apart",
            f"commands are refused from {CLOCK_SKEW_SECONDS_MAX} s on: keep time by NTP",
        )  # fmt: skip
        power = _one(
            connection,
            "SELECT r.rolsuper OR pg_has_role(r.oid, c.relowner, 'MEMBER') FROM pg_roles r,"
            " pg_class c WHERE r.rolname = current_user AND c.oid = 'scrinia.events'::regclass",
        )
        yield _expect(
            "roles", not power, "the server's role cannot change the ledger",
            "the server's role owns the ledger or is a superuser: migrate with another role",
        )  # fmt: skip


def _pooler(settings: Settings) -> Iterator[Finding]:
    """A transaction pooler gives each transaction another backend and swallows notifications."""
    direct = str(settings.database_direct_url or settings.database_url)
    with closing(connect(direct)) as listener, closing(connect(direct)) as speaker:
        listener.execute("LISTEN scrinia_doctor")
        speaker.execute("NOTIFY scrinia_doctor")
        heard = any(True for _ in listener.notifies(timeout=NOTIFY_SECONDS, stop_after=1))
    yield _expect(
        "pooler", heard, "a LISTEN is answered" if heard else "no LISTEN is answered",
        "set SCRINIA_DATABASE_DIRECT_URL to a connection without a transaction pooler",
    )  # fmt: skip


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def _expect(check: str, good: bool, detail: str, otherwise: str) -> Finding:
    return Finding(check, "ok" if good else "failed", detail if good else f"{detail}: {otherwise}.")


def _views(settings: Settings) -> Iterator[Finding]:
    store = store_of(settings)
    if not store.exists():
        return  # said before
    if not settings.on_postgres and not settings.directory.views.exists():
        yield Finding("read models", "warning", "there are none yet: start a server or worker")
        return
    with closing(store.recorder()) as recorder, closing(views_of(settings)) as views:
        head = recorder.head()
        outward = (["relay", "relay-labels"] if settings.nats else []) + (
            ["siem"] if settings.siem else []
        )
        for name in [*(projection.name for projection in projections()), *outward]:
            lag = head - views.position(name)
            state: State = "ok" if lag <= LAG_EVENTS_MAX else "warning"
            detail = f"{name} is {lag} events behind"
            if state == "warning":
                detail += ": is a server or worker running?"
            yield Finding("read models", state, detail)


def _nats(settings: Settings) -> Iterator[Finding]:
    try:
        yield asyncio.run(_ask_nats(settings))
    except (NatsError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        detail = f"{reason}: commands go on, the relay waits. Check SCRINIA_NATS_URL."
        yield Finding("nats", "failed", detail)


async def _ask_nats(settings: Settings) -> Finding:
    if settings.nats is None:
        raise ValueError("there is no NATS to ask")
    client = await connect_nats(settings.nats)
    try:
        version = client.connected_server_version
        info = await client.jetstream().account_info()
    finally:
        await client.close()
    return Finding("nats", "ok", f"nats-server {version} with JetStream, {info.streams} streams")
