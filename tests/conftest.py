import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.harness import COLLECTIONS, STORES, Api, Process, new_database, registry
from tests.servers import Nats, Postgres

# At a desk every run tries something new; CI repeats itself, so that red means the change is.
settings.register_profile("scrinia", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "scrinia")


@pytest.fixture(params=STORES)
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Where the registry of a test keeps its ledger: the embedded store (None), then PostgreSQL."""
    return new_database(request)


@pytest.fixture
async def api(tmp_path: Path, database_url: str | None) -> AsyncIterator[Api]:
    """A fresh registry in this event loop."""
    async with registry(tmp_path, database_url=database_url) as client:
        yield client


@pytest.fixture
def server(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str | None
) -> Iterator[Process]:
    """A fresh registry as a process of its own; started as users do where a module says so."""
    real = getattr(request.module, "REAL_PROCESSES", False)
    process = Process(tmp_path / "data", {"SCRINIA_DATABASE_URL": database_url or ""}, real=real)
    process.start()
    yield process
    if process.process.poll() is None:
        process.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the run; it need not survive the machine, so it does not wait for disks."""
    server = Postgres("-F")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats() -> Iterator[Nats]:
    """A nats-server of the test's own."""
    server = Nats()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def collections() -> Path:
    """The real prompt collections; in CI their absence is a failure."""
    if (COLLECTIONS / "fabric").is_dir() and (COLLECTIONS / "github-models").is_dir():
        return COLLECTIONS
    reason = f"no collections in {COLLECTIONS}: set SCRINIA_TEST_COLLECTIONS"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


# At the end of a run they would keep one process busy and the others idle.
LONGEST = ("test_schemathesis_changes.py", "test_schemathesis_reads.py", "test_two_processes.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Modules that take longest come first; long variants only with SCRINIA_LONG=1."""
    items.sort(key=lambda item: LONGEST.index(n) if (n := item.path.name) in LONGEST else 9)
    if os.environ.get("SCRINIA_LONG") == "1":
        return
    config.hook.pytest_deselected(items=[item for item in items if "long" in item.keywords])
    items[:] = [item for item in items if "long" not in item.keywords]
