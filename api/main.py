"""The composition root: the only place where anything is constructed and wired.

`running` opens a registry's parts over a data directory and closes them in the right order;
`serve` puts them behind a port. Tests start the server through the same functions.
"""

import asyncio
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web
from eventsourcing.persistence import PersistenceError

from api.http.identity_provider import IdentityProvider
from api.http.limits import RateLimit
from api.http.passwords import Passwords
from api.http.routes import make_app
from api.http.services import Door, Services
from api.settings import Settings, bracketed
from domain.access import SYSTEM_CALLER, Caller
from domain.commands import ApplyDueChange, Command, ExpireLabel, TakeRampStep
from domain.decision import Decision, Ids, Session
from domain.errors import ConflictError
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, SIGN_IN_PURPOSE, WEBHOOK_PURPOSE
from domain.registry import Registry
from domain.sign_in_secrets import SignInSecrets
from domain.user_session import HOURS_MAX
from ledger.batch import Submission
from ledger.committer import Committer
from ledger.datadir import DataDirectory
from ledger.errors import InUseError, MissingExtraError
from ledger.follower import Follower
from ledger.ids import SystemIds, now
from ledger.initialising import initialise
from ledger.keyfiles import create_secret, load_key, load_secret
from ledger.mapper import SigningMapper
from ledger.payload import format_time
from ledger.postgres.store import PostgresStore
from ledger.postgres.wakeup import PostgresWakeup
from ledger.recorder import LedgerRecorder
from ledger.repository import Repository
from ledger.sealing import Sealer
from ledger.signing import Signer
from ledger.sqlite.store import SQLiteStore
from ledger.sqlite.wakeup import SQLiteWakeup
from ledger.store import LedgerStore
from ledger.trust import TrustedKeys, check_unsealed
from projections.access import AccessView
from projections.audit import Audit
from projections.catalog import Catalog
from projections.changes import Changes
from projections.courier import Courier
from projections.deliveries import Deliveries
from projections.delivery import LEASE as DELIVERY_LEASE
from projections.delivery import Delivery
from projections.due import Do, Due, Find
from projections.elections import Elections
from projections.expiry import LEASE as EXPIRY_LEASE
from projections.expiry import due_labels
from projections.feed import Feed
from projections.outbound import Guard, Sender, parse_networks
from projections.past import PastCatalogs
from projections.postgres.views import PostgresViews
from projections.projects import ProjectView
from projections.ramps import LEASE as RAMPS_LEASE
from projections.ramps import due_steps
from projections.reads import Reads
from projections.relay import LEASE as RELAY_LEASE
from projections.relay import Relay
from projections.runner import LEASE as RUNNER_LEASE
from projections.runner import Runner
from projections.schedule import LEASE as SCHEDULE_LEASE
from projections.schedule import Schedule
from projections.scrub import LEASE as SCRUB_LEASE
from projections.scrub import Scrub
from projections.search import Search
from projections.serving import ServingView
from projections.siem import LEASE as SIEM_LEASE
from projections.siem import RefusalExport, SiemExport
from projections.siem_sinks import new_sink
from projections.sign_in_tries import SignInTries
from projections.sqlite.views import SQLiteViews
from projections.token_uses import TokenUses
from projections.transparency import LEASE as SEALING_LEASE
from projections.transparency import Transparency
from projections.uses import Uses
from projections.views import SqlProjection, Views
from projections.webhooks import WebhookView

if TYPE_CHECKING:
    from api.telemetry import Telemetry  # of an extra that need not be there

SHUTDOWN_SECONDS = 10.0
GC_ALLOCATIONS = 50_000
log = logging.getLogger("scrinia")


def projections() -> list[SqlProjection]:
    """Every SQL projection there is."""
    return [Catalog(), Audit(), Search(), Uses(), Changes()]


def decide(session: Session, command: Command, caller: Caller, now: datetime, ids: Ids) -> Decision:
    """How the committer has a command decided: by the registry."""
    return Registry(session, caller, now, ids).decide(command)


def store_of(settings: Settings) -> LedgerStore:
    """Where the ledger is kept."""
    if settings.database_url is not None and settings.on_postgres:
        return PostgresStore(settings.database_url, pooled=settings.database_direct_url is not None)
    return SQLiteStore(settings.ledger_file)


def views_of(settings: Settings) -> Views:
    """The read models, kept in the same kind of store."""
    if settings.database_url is not None and settings.on_postgres:
        return PostgresViews(settings.database_url, settings.database_direct_url)
    return SQLiteViews(settings.directory.views)


def wakeup_of(settings: Settings, wake: Callable[[], None]) -> PostgresWakeup | SQLiteWakeup:
    """How this process hears of what others commit."""
    if settings.database_url is not None and settings.on_postgres:
        return PostgresWakeup(settings.database_direct_url or settings.database_url, wake)
    return SQLiteWakeup(settings.ledger_file, wake)


def initialise_if_missing(settings: Settings) -> bool:
    """Begin a registry where there is no ledger yet; whether that was done."""
    store = store_of(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(settings.directory.init_lock, fcntl.LOCK_EX):
        if store.exists():
            return False
        initialise(store, settings.directory, settings.token_file, SystemIds())
    return True


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock file as `fcntl.flock` does; InUseError where LOCK_NB finds it held."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            raise InUseError(f"A server is running on {path.parent}: stop it first.") from None
        yield


@contextmanager
def stopped(settings: Settings) -> Iterator[None]:
    """No server runs on this data directory, and none starts; InUseError where one does."""
    with locked(settings.directory.lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Services]:
    """A registry's process at work, one of any number over the same store."""
    with locked(settings.directory.lock, fcntl.LOCK_SH):
        async with _working(settings, _assemble(settings)) as services:
            yield services


@asynccontextmanager
async def _working(settings: Settings, services: Services) -> AsyncIterator[Services]:
    """Every part running, and brought to an end in the right order."""
    await services.elections.stand()
    electing = asyncio.create_task(services.elections.run())
    listening = [asyncio.create_task(wakeup_of(settings, services.follower.wake).run())]
    if services.refusals is not None:
        listening.append(asyncio.create_task(services.refusals.run()))
    noting = [asyncio.create_task(part.run()) for part in (services.token_uses, services.reads)]
    following = asyncio.create_task(services.follower.run())
    tasks = [asyncio.create_task(part.run()) for part in services.elected]
    writing = asyncio.create_task(services.committer.run())
    try:
        yield services
    finally:
        await _stop(services, writing, following, tasks)
        services.token_uses.close()
        services.reads.close()
        await _ended(*noting)
        for task in listening:
            task.cancel()
        services.elections.close()
        await asyncio.gather(electing, *listening, return_exceptions=True)
        await services.courier.sender.close()
        if services.telemetry is not None:
            await asyncio.to_thread(services.telemetry.close)
        services.operators.shutdown(cancel_futures=True)
        services.door.passwords.close()
        if services.door.provider is not None:
            await services.door.provider.close()
        services.past.close()
        services.readers.shutdown()
        services.views.close()
        services.recorder.close()


def _assemble(settings: Settings) -> Services:
    """Construct every part and bring the ones in memory up to the ledger's head."""
    directory = settings.directory
    signer = load_key(directory.event_key, EVENT_PURPOSE)
    sealing_key = load_key(directory.checkpoint_key, CHECKPOINT_PURPOSE)
    store = store_of(settings)
    ledger = store.ledger_id()
    recorder, views = store.recorder(), views_of(settings)
    mapper = SigningMapper(ledger, signer)
    readers = ThreadPoolExecutor(settings.reader_threads, thread_name_prefix="scrinia-read")
    repository = Repository(recorder, mapper, ledger)
    head = recorder.head()
    keys = repository.trusted_keys(head)
    sealer = Sealer(recorder, sealing_key, ledger, directory.checkpoint, keys)
    sealer.resume()
    check_unsealed(recorder, keys, sealer.sealed, head)
    access, webhooks, projects = AccessView(), WebhookView(), ProjectView()
    access.load_all(recorder, mapper, head, keys, sessions_after=_session_horizon(recorder))
    for view in (webhooks, projects):
        view.load(recorder, mapper, head, keys)
    webhook_key = _secret(directory, directory.webhook_key, WEBHOOK_PURPOSE, webhooks.known)
    ids = SystemIds(webhook_key, _sign_in_key(directory, access))
    _warn_of_keys(keys, signer, sealing_key, head)
    follower = Follower(recorder, mapper, keys, readers, head)
    serving = ServingView(recorder, repository, projects, readers, settings.serving_bytes_max)
    committer = Committer(
        recorder, Repository(recorder, mapper, ledger), mapper, signer, ledger, decide,
        ids, follower.committed,
    )  # fmt: skip
    # Projects before what is composed of them.
    for listener in (
        projects.apply, serving.apply, access.apply, webhooks.apply, committer.follow,
    ):  # fmt: skip
        follower.listen(listener)
    elections = Elections(views, _leases(settings))
    relay = Relay(settings.nats, ledger, views, follower, elections) if settings.nats else None
    siem_sink = partial(new_sink, settings.siem) if settings.siem else None
    deliveries = Deliveries(views)
    guard = Guard(parse_networks(settings.webhook_allowed_networks))
    courier = Courier(webhook_key, Sender(guard), recorder.contents, readers)

    def due(lease: str, find: Find, do: Do) -> Due:
        return Due(lease, views, readers, elections, find, partial(do, committer))

    return Services(
        ledger_id=ledger, own_keys=frozenset({signer.key_id, sealing_key.key_id}),
        recorder=recorder, repository=repository, mapper=mapper,
        door=_door(settings, ids, views),
        committer=committer, follower=follower, serving=serving, access=access, views=views,
        token_uses=TokenUses(views, readers),
        reads=Reads(views, readers, settings.access_log_days), projects=projects,
        proxies=parse_networks(settings.trusted_proxies),
        runner=Runner(views, projections(), follower, recorder.contents, elections),
        feed=Feed(follower), past=PastCatalogs(recorder, mapper), elections=elections, relay=relay,
        scrub=Scrub(recorder, keys, follower, elections, settings.scrub_hours * 3600),
        expiry=due(EXPIRY_LEASE, due_labels, _expire),
        schedule=due(SCHEDULE_LEASE, Schedule().due, _apply_due),
        ramps=due(RAMPS_LEASE, due_steps, _take_step),
        transparency=Transparency(sealer, follower, readers, elections),
        readers=readers, operators=ThreadPoolExecutor(1, thread_name_prefix="scrinia-rebuild"),
        webhooks=webhooks, deliveries=deliveries,
        courier=courier, telemetry=_telemetry(settings),
        siem=SiemExport(siem_sink, views, follower, elections) if siem_sink else None,
        refusals=RefusalExport(siem_sink) if siem_sink else None,
        delivery=Delivery(
            webhooks, deliveries, follower, elections, courier, partial(_as_system, committer),
            settings.webhook_give_up_hours * 3600,
        ),
    )  # fmt: skip


def _leases(settings: Settings) -> list[str]:
    """What this process stands for."""
    if not settings.worker:
        return []
    leases = [
        RUNNER_LEASE, SEALING_LEASE, SCRUB_LEASE, DELIVERY_LEASE, EXPIRY_LEASE, SCHEDULE_LEASE,
        RAMPS_LEASE,
    ]  # fmt: skip
    leases += [RELAY_LEASE] if settings.nats else []
    return leases + ([SIEM_LEASE] if settings.siem else [])


def _door(settings: Settings, ids: SystemIds, views: Views) -> Door:
    provider, limit = settings.provider, settings.requests_per_minute
    return Door(
        secrets=ids.sign_in,
        passwords=Passwords(settings.password_memory_mib),
        provider=IdentityProvider(provider) if provider is not None else None,
        tries=SignInTries(views),
        session_hours=settings.session_hours,
        public_origin=settings.public_origin,
        requests_limit=RateLimit("credential", limit, settings.processes) if limit else None,
        refusals_limit=RateLimit("refusals", settings.refusals_per_minute, settings.processes),
        max_staleness_seconds=settings.max_staleness,
    )


def _warn_of_keys(keys: TrustedKeys, signer: Signer, sealing: Signer, head: int) -> None:
    """A server with a key that does not count serves reads, and says so once."""
    for key, purpose in ((signer, EVENT_PURPOSE), (sealing, CHECKPOINT_PURPOSE)):
        if keys.at(key.key_id, purpose, head + 1) is None:
            log.error("the %s key here is not in force: see 'scrinia key list'", purpose)


def _session_horizon(recorder: LedgerRecorder) -> int:
    """The position before which no session began that is not over by now."""
    return recorder.position_at(format_time(now() - timedelta(hours=HOURS_MAX)))


def _sign_in_key(directory: DataDirectory, access: AccessView) -> bytes:
    """The sign-in key; where names were given by another one, which lead nowhere here, says so."""
    key = _secret(directory, directory.sign_in_key, SIGN_IN_PURPOSE, access.sign_ins)
    own = SignInSecrets(key).key_id
    if any(one.key_id != own for one in access.sign_ins.values() if one.login_id is not None):
        log.error("the sign-in key here is another one than login names were given by")
    return key


def _telemetry(settings: Settings) -> "Telemetry | None":
    """Traces, where they are wanted; MissingExtraError where they cannot be had."""
    if settings.otlp_url is None:
        return None
    try:
        module = import_module("api.telemetry")
    except ImportError:
        raise MissingExtraError(
            "SCRINIA_OTLP_URL needs the extra otel: pip install 'scrinia-server[otel]'."
        ) from None
    telemetry: Telemetry = module.Telemetry(settings.otlp_url, version("scrinia-server"))
    return telemetry


def _secret(directory: DataDirectory, path: Path, purpose: str, derived: Sized) -> bytes:
    """A key that others derive from; made where a registry from before has none yet."""
    with locked(directory.init_lock, fcntl.LOCK_EX):
        if not derived and not path.exists():
            create_secret(path, purpose)
            log.warning("made %s: every host needs the same, copy it", path)
        return load_secret(path, purpose)


async def _as_system(committer: Committer, command: Command) -> int:
    """What a part of the registry wishes, decided like everybody's commands; its position."""
    request = {"id": str(SystemIds().new_id())}
    return (await committer.submit(Submission(command, SYSTEM_CALLER, request))).position


async def _expire(committer: Committer, project: str, name: str, label: str) -> int:
    """A label's end, decided like every command; its position."""
    return await _as_system(committer, ExpireLabel(project, name, label))


async def _take_step(committer: Committer, project: str, name: str, label: str) -> None:
    """A step of a rollout's ramp, decided anew; one that was taken meanwhile is not."""
    with suppress(ConflictError):
        await _as_system(committer, TakeRampStep(project, name, label))


async def _apply_due(committer: Committer, project: str, change_id: str) -> None:
    """A change request that is to be applied by itself, where the rules let it by now."""
    with suppress(ConflictError):
        await _as_system(committer, ApplyDueChange(project, UUID(change_id)))


async def _stop(
    services: Services,
    writing: asyncio.Task[None],
    following: asyncio.Task[None],
    tasks: list[asyncio.Task[None]],
) -> None:
    """Finish the batch, follow it, seal it."""
    services.committer.close()
    await _ended(writing)
    services.follower.close()
    await _ended(following)
    for part in services.elected:
        part.close()
    await _ended(*tasks)


async def _ended(*tasks: asyncio.Task[None]) -> None:
    """Wait for parts to end; one that ends badly keeps nobody else from ending."""
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, PersistenceError):
            log.warning("the database is away at the end: %s", ended)
        elif isinstance(ended, Exception):
            log.error("a part ended badly", exc_info=ended)


async def serve(
    settings: Settings, on_ready: Callable[[str], None], *, supervised: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` is told the address once it answers.

    `supervised`: the port is shared with other processes, and the address file is not this one's.
    """
    # Most objects here live long: collecting less often costs no memory and halves the p99.
    gc.set_threshold(GC_ALLOCATIONS)
    stop = _stop_signal()
    if supervised:
        asyncio.get_running_loop().add_reader(sys.stdin, _stop_at_the_end_of_input, stop)
    async with running(settings) as services:
        host, port = settings.listen
        runner = web.AppRunner(
            make_app(services), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port, reuse_port=supervised or None)
        try:
            await site.start()
        except OSError as error:
            raise InUseError(
                f"Cannot listen on {settings.bind}: {error.strerror or error}. Set SCRINIA_BIND;"
                " port 0 takes any free one."
            ) from None
        address = f"http://{bracketed(host)}:{_port(site, port)}"
        with nullcontext() if supervised else published(settings.directory.address, address):
            on_ready(address)
            await stop.wait()
            log.info("shutting down")
            services.feed.close()
            await runner.cleanup()


@contextmanager
def published(file: Path, address: str) -> Iterator[None]:
    """Say in the data directory where the server is, unless one that answers has said so."""
    mine = not (file.exists() and _answers(file.read_text().strip()))
    if mine:
        file.write_text(address + "\n")
    try:
        yield
    finally:
        if mine:
            file.unlink(missing_ok=True)


def _answers(address: str) -> bool:
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), 1).close()
    except (OSError, ValueError):
        return False
    return True


async def work(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Do the parts that only one process does, without a port, until SIGTERM or SIGINT."""
    stop = _stop_signal()
    async with running(settings.model_copy(update={"worker": True})) as services:
        on_ready(services.elections.holder)
        await stop.wait()
        log.info("shutting down")


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _stop_at_the_end_of_input(stop: asyncio.Event) -> None:
    """A supervisor that is gone has closed this process's input."""
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        stop.set()


def _port(site: web.TCPSite, configured: int) -> int:
    server = site._server
    sockets = getattr(server, "sockets", None) or ()
    for listening in sockets:
        return int(listening.getsockname()[1])
    return configured
