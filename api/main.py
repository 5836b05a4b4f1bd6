"""The composition root: the only place where anything is constructed and wired.

`running` opens a registry's parts over a data directory and closes them in the right order;
`serve` puts them behind a port. Tests start the server through the same functions.
"""

import asyncio
import fcntl
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path

from aiohttp import web

from api.http.routes import make_app
from api.http.services import Services
from api.settings import Settings
from domain.access import Caller
from domain.commands import Command
from domain.decision import Decision, Ids, Session
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE
from domain.registry import Registry
from ledger.committer import Committer
from ledger.datadir import initialise
from ledger.errors import LedgerError
from ledger.follower import Follower
from ledger.ids import SystemIds
from ledger.keyfiles import load_key
from ledger.mapper import SigningMapper
from ledger.postgres.store import PostgresStore
from ledger.repository import Repository
from ledger.sealing import Sealer
from ledger.sqlite.store import SQLiteStore
from ledger.store import LedgerStore
from ledger.trust import check_unsealed
from projections.access import AccessView
from projections.audit import Audit
from projections.catalog import Catalog
from projections.feed import Feed
from projections.past import PastCatalogs
from projections.postgres.views import PostgresViews
from projections.runner import Runner
from projections.serving import ServingView
from projections.sqlite.views import SQLiteViews
from projections.transparency import Transparency
from projections.views import SqlProjection, Views

SHUTDOWN_SECONDS = 10.0
GC_ALLOCATIONS = 50_000
log = logging.getLogger("scrinia")


class AlreadyServedError(LedgerError):
    """Another server works on this data directory."""

    code = "already_served"


def projections() -> list[SqlProjection]:
    """Every SQL projection there is."""
    return [Catalog(), Audit()]


def decide(session: Session, command: Command, caller: Caller, now: datetime, ids: Ids) -> Decision:
    """How the committer has a command decided: by the registry."""
    return Registry(session, caller, now, ids).decide(command)


def store_of(settings: Settings) -> LedgerStore:
    """Where the ledger is kept."""
    if settings.database_url is not None and settings.on_postgres:
        return PostgresStore(settings.database_url)
    return SQLiteStore(settings.ledger_file)


def views_of(settings: Settings) -> Views:
    """The read models, kept in the same kind of store."""
    if settings.database_url is not None and settings.on_postgres:
        return PostgresViews(settings.database_url, settings.database_direct_url)
    return SQLiteViews(settings.directory.views)


def initialise_if_missing(settings: Settings) -> bool:
    """Begin a registry where there is no ledger yet; whether that was done."""
    store = store_of(settings)
    if store.exists():
        return False
    initialise(store, settings.directory, settings.token_file, SystemIds())
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the data directory's lock; AlreadyServedError where another server does."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyServedError(
                f"Another server holds {path}: stop it, or choose another SCRINIA_DATA_DIR."
            ) from None
        yield


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Services]:
    """A registry at work over its data directory."""
    directory = settings.directory
    signer = load_key(directory.event_key, EVENT_PURPOSE)
    sealing_key = load_key(directory.checkpoint_key, CHECKPOINT_PURPOSE)
    store = store_of(settings)
    ledger = store.ledger_id()
    ids = SystemIds()
    with exclusive(directory.lock):
        recorder = store.recorder()
        mapper = SigningMapper(ledger, signer)
        views = views_of(settings)
        readers = ThreadPoolExecutor(settings.reader_threads, thread_name_prefix="scrinia-read")
        operators = ThreadPoolExecutor(1, thread_name_prefix="scrinia-rebuild")
        sealer = Sealer(recorder, sealing_key, ledger, directory.checkpoint)
        sealer.resume()
        repository = Repository(recorder, mapper, ledger)
        keys = repository.trusted_keys()
        check_unsealed(recorder, keys, sealer.sealed)
        head = recorder.head()
        access = AccessView()
        access.load(recorder, mapper, head, keys)
        follower = Follower(recorder, mapper, keys, readers, head)
        serving = ServingView(recorder, repository, readers, settings.serving_bytes_max)
        follower.listen(serving.apply)
        follower.listen(access.apply)
        committer = Committer(
            recorder, Repository(recorder, mapper, ledger), mapper, signer, ledger, decide, ids,
            follower.committed,
        )  # fmt: skip
        runner = Runner(views, projections(), follower, recorder.contents)
        transparency = Transparency(sealer, follower, readers)
        past = PastCatalogs(recorder, mapper)
        services = Services(
            ledger, recorder, repository, mapper, committer, follower, serving, access, views,
            runner, Feed(follower), past, transparency, readers, operators,
        )  # fmt: skip
        tasks = [asyncio.create_task(part.run()) for part in (follower, runner, transparency)]
        writing = asyncio.create_task(committer.run())
        try:
            yield services
        finally:
            await _stop(services, writing, tasks)
            operators.shutdown(cancel_futures=True)
            past.close()
            readers.shutdown()
            views.close()
            recorder.close()


async def _stop(
    services: Services, writing: asyncio.Task[None], tasks: list[asyncio.Task[None]]
) -> None:
    """Finish the batch, follow it, seal it."""
    services.committer.close()
    await writing
    services.follower.close()
    await tasks[0]
    services.runner.close()
    services.transparency.close()
    for ended in await asyncio.gather(*tasks[1:], return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("a part ended badly", exc_info=ended)


async def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` is told the address once it answers."""
    # Most objects here live long: collecting less often costs no memory and halves the p99.
    gc.set_threshold(GC_ALLOCATIONS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as services:
        host, port = settings.listen
        runner = web.AppRunner(
            make_app(services), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        address = f"http://{host}:{_port(site, port)}"
        directory = settings.directory
        directory.address.write_text(address + "\n")
        on_ready(address)
        await stop.wait()
        log.info("shutting down")
        services.feed.close()
        await runner.cleanup()
        directory.address.unlink(missing_ok=True)


def _port(site: web.TCPSite, configured: int) -> int:
    server = site._server
    sockets = getattr(server, "sockets", None) or ()
    for socket in sockets:
        return int(socket.getsockname()[1])
    return configured
