"""What a part says while something it needs is away: when it goes, now and then, and after."""

import logging
import time

REMIND_SECONDS = 60.0


class Outage:
    """One part's view of one thing that comes and goes."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._since: float | None = None
        self._said = 0.0

    @property
    def lasts(self) -> bool:
        """Whether it did not work when last tried: at the end, nobody waits for it."""
        return self._since is not None

    def failed(self, error: Exception) -> None:
        """It does not work: said at once, then every REMIND_SECONDS."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._said < REMIND_SECONDS:
            return
        self._said = now
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        self._log.warning("%s: %s; trying again until it works", self._what, reason)

    def over(self) -> None:
        """It works: said where it did not before."""
        if self._since is not None:
            seconds = time.monotonic() - self._since
            self._log.warning("%s works again after %.0f s", self._what, seconds)
            self._since = None
