"""Several server processes on one port: started, watched, started again, stopped together.

The supervisor keeps the port by a bound socket that never listens; each process listens on it with
SO_REUSEPORT, and the kernel spreads connections over those that live.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing

from api.main import published
from api.settings import Settings, bracketed

READY_LINE = b"ready\n"
RESTART_SECONDS_MIN = 0.1
RESTART_SECONDS_MAX = 5.0
STOP_SECONDS = 20.0
log = logging.getLogger("scrinia.supervisor")


class Supervisor:
    """Runs `settings.processes` copies of `scrinia serve`."""

    def __init__(self, settings: Settings, on_ready: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._stop = asyncio.Event()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._failed = False

    async def run(self) -> bool:
        """Supervise until SIGTERM or SIGINT; False where a process could not even start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        host, port = self._settings.listen
        with closing(reserve(host, port)) as reserved:
            bind = f"{bracketed(host)}:{reserved.getsockname()[1]}"
            ready = [asyncio.Event() for _ in range(self._settings.processes)]
            keepers = [asyncio.create_task(self._keep(bind, event)) for event in ready]
            await self._until_ready(ready)
            if not self._stop.is_set():
                with published(self._settings.directory.address, f"http://{bind}"):
                    self._on_ready(f"http://{bind}")
                    await self._stop.wait()
            await self._end()
            await asyncio.gather(*keepers)
        return not self._failed

    async def _until_ready(self, ready: Sequence[asyncio.Event]) -> None:
        async def everybody() -> None:
            for event in ready:
                await event.wait()

        tasks = [asyncio.create_task(everybody()), asyncio.create_task(self._stopped())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _stopped(self) -> None:
        await self._stop.wait()

    async def _keep(self, bind: str, ready: asyncio.Event) -> None:
        """Keep one process alive; one that dies before it ever answered ends everything."""
        pause = RESTART_SECONDS_MIN
        while not self._stop.is_set():
            process = await self._start(bind)
            if self._stop.is_set():
                process.terminate()
            if await _says_ready(process):
                pause = RESTART_SECONDS_MIN
                ready.set()
            code = await process.wait()
            self._processes.discard(process)
            if self._stop.is_set():
                return
            if not ready.is_set():
                self._failed = True
                self._stop.set()
                return
            log.error("process %d ended with %d: starting another", process.pid, code)
            await asyncio.sleep(pause)
            pause = min(2 * pause, RESTART_SECONDS_MAX)

    async def _start(self, bind: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api.cli.main",
            "--data-dir", str(self._settings.data_dir), "serve", "--bind", bind, "--supervised",
            stdin=asyncio.subprocess.PIPE,  # its end tells a process that the supervisor is gone
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C reaches the supervisor alone
        )  # fmt: skip
        self._processes.add(process)
        return process

    async def _end(self) -> None:
        """Ask every process to finish its work and go; end those that do not."""
        running = list(self._processes)
        for process in running:
            if process.returncode is None:
                process.terminate()
        waiting = [asyncio.create_task(process.wait()) for process in running]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=STOP_SECONDS)
            for process in running if late else ():
                if process.returncode is None:
                    process.kill()


async def _says_ready(process: asyncio.subprocess.Process) -> bool:
    return process.stdout is not None and await process.stdout.readline() == READY_LINE


def reserve(host: str, port: int) -> socket.socket:
    """A socket bound to an address that others may share by SO_REUSEPORT; OSError if taken."""
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    reserved = socket.socket(family, kind, proto)
    try:
        _refuse_if_taken(reserved.family, address)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except OSError:
        reserved.close()
        raise
    return reserved


def _refuse_if_taken(family: int, address: object) -> None:
    """Another supervisor's port would be shared without a word: look first."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)  # type: ignore[arg-type]
