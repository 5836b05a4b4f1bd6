"""Servers, forked from a process that has read their modules already.

Reading them is nearly all of what a start costs, and the tests start hundreds. All else is as in
any process: its own memory, environment, files and signals. Modules that say `REAL_PROCESSES`, and
the tests of the README and of deployments, start theirs as users do.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "api.cli.main"]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["api.main", "api.cli.main", "api.cli.operations", "api.cli.prompts", "api.cli.access"]
)


def _run(arguments: list[str], environment: Mapping[str, str], files: tuple[str, str, str]) -> None:
    """In the new process: be the command line."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    modes = (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_APPEND] * 2)
    for number, (name, mode) in enumerate(zip(files, modes, strict=True)):
        opened = os.open(name, mode, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    sys.argv = ["scrinia", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from api.cli.main import main  # what was read before the fork

    main()


class Forked:
    """A running command, asked and signalled as a `subprocess.Popen` is."""

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], out: Path, err: Path
    ) -> None:
        files = (os.devnull, str(out), str(err))
        self._process: ForkServerProcess = _context.Process(
            target=_run, args=(arguments, dict(environment), files)
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(COMMAND, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)
