"""`make bench`: ratios taken side by side in one run; prints a Markdown table.

Every pair is measured in turn, A B A B …; a figure is the median of the rounds with its range.
"""

import os
import pickle
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import requests
import uvloop
from nacl.signing import VerifyKey

from api.main import projections
from bench.load import Measured, measure, request
from ledger import payload
from ledger.datadir import DataDirectory, Trust
from ledger.mapper import SigningMapper
from ledger.sqlite.recorder import SQLiteLedgerRecorder
from ledger.sqlite.store import SQLiteStore
from ledger.verify import verify_ledger
from projections.rebuild import Rebuilder
from projections.sqlite.views import SQLiteViews

ROOT = Path(__file__).parent.parent
COLLECTIONS = Path(os.environ.get("SCRINIA_TEST_COLLECTIONS", ROOT.parent / "shared" / "data"))
ROUNDS = int(os.environ.get("SCRINIA_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("SCRINIA_BENCH_SECONDS", "2"))
CONNECTIONS = 32
Run = Callable[[], Measured]


@contextmanager
def scrinia(folder: Path) -> Iterator[tuple[str, str]]:
    """A server process; its address and token."""
    env = {**os.environ, "SCRINIA_DATA_DIR": str(folder), "SCRINIA_BIND": "127.0.0.1:0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "serve"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
    )
    address = folder / "address"
    while not address.exists() or not address.read_text().endswith("\n"):
        time.sleep(0.02)
    try:
        yield address.read_text().strip(), (folder / "admin.token").read_text().strip()
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def floor(kind: str, file: Path) -> Iterator[int]:
    """A floor process; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.floor", kind, str(file)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)


def report(name: str, ours: list[float], floors: list[float], unit: str) -> None:
    """One row: rates, and the ratio pair by pair."""
    ratios = [a / b for a, b in zip(ours, floors, strict=True)]
    cells = [
        f"{statistics.median(values):{form}} [{min(values):{form}}-{max(values):{form}}]"
        for values, form in ((ours, ",.0f"), (floors, ",.0f"), (ratios, ".2f"))
    ]
    print(f"| {name} | {cells[0]} | {cells[1]} | {cells[2]} | {unit} |", flush=True)


def pair(name: str, ours: Run, theirs: Run, unit: str) -> None:
    """Measure two in turn and report them."""
    ours(), theirs()
    found = [(ours(), theirs()) for _ in range(ROUNDS)]
    report(name, [a.rate for a, _ in found], [b.rate for _, b in found], unit)
    latencies = "/".join(
        f"{statistics.median(x):.1f}"
        for x in zip(*((a.p50, a.p99, b.p50, b.p99) for a, b in found), strict=True)
    )
    print(f"|   p50/p99 ms, then the floor's | {latencies} | | | |")


def run(port: int, connections: int, next_request: Callable[[], bytes]) -> Measured:
    """One run of the load client."""
    return uvloop.run(measure(port, connections, SECONDS, next_request))


def port_of(url: str) -> int:
    """The port in an address."""
    return int(url.rsplit(":", 1)[1])


def fill(url: str, token: str, folder: Path) -> list[str]:
    """Import real prompts where they are, else this repository's; the names."""
    source = (
        COLLECTIONS / "fabric"
        if (COLLECTIONS / "fabric").is_dir()
        else (ROOT / "examples" / "prompts")
    )
    env = {**os.environ, "SCRINIA_URL": url, "SCRINIA_TOKEN": token}
    subprocess.run(
        [
            sys.executable,
            "-m",
            "api.cli.main",
            "import",
            str(source),
            "--project",
            "bench",
            "--label",
            "production",
        ],
        cwd=ROOT,
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    headers = {"Authorization": f"Bearer {token}"}
    page = requests.get(f"{url}/v1/projects/bench/prompts?limit=500", headers=headers).json()
    return [item["name"] for item in page["items"]]


def bench_resolve(url: str, token: str, names: list[str], folder: Path) -> None:
    """Resolve by label, uniform over the imported prompts, the largest left out."""
    answers = {}
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    for name in names:
        response = session.get(f"{url}/v1/projects/bench/prompts/{name}")
        if len(response.content) < 100_000:
            answers[name] = (
                response.content,
                {
                    k: v
                    for k, v in response.headers.items()
                    if k not in ("Date", "Server", "Content-Length")
                },
            )
    file = folder / "answers"
    file.write_bytes(pickle.dumps(answers))
    with floor("read", file) as port:
        for name, (body, _) in answers.items():
            theirs = session.get(f"http://127.0.0.1:{port}/v1/projects/bench/prompts/{name}")
            ours = session.get(f"{url}/v1/projects/bench/prompts/{name}")
            volatile = {"Date", "X-Request-Id"}
            assert theirs.status_code == ours.status_code == 200
            assert theirs.content == ours.content == body
            assert {k: v for k, v in theirs.headers.items() if k not in volatile} == {
                k: v for k, v in ours.headers.items() if k not in volatile
            }
        chance = random.Random(1)
        requests_ = [request("GET", f"/v1/projects/bench/prompts/{n}", token) for n in answers]
        pick = lambda: chance.choice(requests_)  # noqa: E731
        pair(
            f"resolve by label, uniform over {len(answers)}",
            lambda: run(port_of(url), CONNECTIONS, pick),
            lambda: run(port, CONNECTIONS, pick),
            "reads/s",
        )
        hot = requests_[0]
        pair(
            "resolve by label, one hot prompt",
            lambda: run(port_of(url), CONNECTIONS, lambda: hot),
            lambda: run(port, CONNECTIONS, lambda: hot),
            "reads/s",
        )


def bench_commit(url: str, token: str, names: list[str], folder: Path) -> None:
    """Commits of 600-byte texts, uniform over the prompts."""
    chance = random.Random(2)

    def commit() -> bytes:
        text = f"{chance.getrandbits(64):x} " + "x" * 600
        body = orjson.dumps({"content": {"type": "text", "text": text}, "message": "bench"})
        name = chance.choice(names)
        return request("POST", f"/v1/projects/bench/prompts/{name}/-/versions", token, body)

    with floor("write", folder / "floor.db") as port:
        for clients in (1, 16, 64):
            pair(
                f"commit, {clients} client(s)",
                lambda c=clients: run(port_of(url), c, commit),
                lambda c=clients: run(port, c, commit),
                "commits/s",
            )


def bench_offline(directory: DataDirectory) -> None:
    """Verify and rebuild, events a second, one process."""
    recorder = SQLiteLedgerRecorder(directory.ledger)
    count = recorder.head()
    stored = recorder.select_after(0, min(count, 5000))
    key = VerifyKey(_event_key(directory, recorder))
    ours, bare = [], []
    for _ in range(3):
        start = time.perf_counter()
        assert not verify_ledger(SQLiteStore(directory.ledger), directory).faults
        ours.append(count / (time.perf_counter() - start))
        start = time.perf_counter()
        for event in stored:
            key.verify(payload.pre_authentication_encoding(event.state), event.signature)
        bare.append(len(stored) / (time.perf_counter() - start))
    report(f"verify {count:,} events / bare Ed25519 verify", ours, bare, "events/s")
    mapper = SigningMapper(Trust.read(directory.trust).ledger_id, None)
    views = SQLiteViews(directory.views)
    for projection in projections():
        ours, bare = [], []
        for _ in range(3):
            start = time.perf_counter()
            Rebuilder(recorder, mapper, views, projection).rebuild()
            ours.append(count / (time.perf_counter() - start))
            start = time.perf_counter()
            position = 0
            while page := recorder.select_after(position, 500):
                position = page[-1].id
            bare.append(count / (time.perf_counter() - start))
        report(f"rebuild {projection.name} / reading the rows", ours, bare, "events/s")
    views.close()
    recorder.close()


def _event_key(directory: DataDirectory, recorder: SQLiteLedgerRecorder) -> bytes:
    first = recorder.select_after(0, 1)[0]
    return bytes.fromhex(payload.decode(first.state)["data"]["public_key"])


def main() -> None:
    """Measure everything."""
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()};"
        f" {ROUNDS} rounds of {SECONDS} s after one to warm up, median [min-max]\n"
    )
    print("| what | Scrinia | floor | ratio | unit |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with scrinia(folder / "data") as (url, token):
            names = fill(url, token, folder)
            bench_resolve(url, token, names, folder)
            bench_commit(url, token, names, folder)
        bench_offline(DataDirectory(folder / "data"))


if __name__ == "__main__":
    main()
