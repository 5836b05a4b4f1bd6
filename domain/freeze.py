"""Freeze windows: when an environment takes no promotions.

A window is a span between two moments, or comes every week at a place's own time. Time zones are
those of the IANA database (RFC 6557).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from domain.errors import Fault

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
FREEZES_MAX = 32
# Not what a machine calls its own ("localtime"), nor its variants ("posix/…", "right/…").
_ZONE = re.compile(r"UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){1,2}")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


@dataclass(frozen=True)
class Freeze:
    """One window. A span has `starts_at` and `ends_at`; a weekly one days, minutes and a zone.

    Minutes count from local midnight; a weekly window whose end is not after its start goes on into
    the next day. `days` are those on which it starts.
    """

    starts_at: datetime | None = None
    ends_at: datetime | None = None
    days: tuple[str, ...] = ()
    from_minute: int = 0
    to_minute: int = DAY_MINUTES
    time_zone: str | None = None

    def holds(self, at: datetime) -> bool:
        """Whether a moment lies in the window: its start counts, its end does not."""
        if self.starts_at is not None and self.ends_at is not None:
            return self.starts_at <= at < self.ends_at
        zone = ZoneInfo(self.time_zone or "UTC")
        today = at.astimezone(zone).date()
        return any(
            DAYS[day.weekday()] in self.days and self._holds_from(day, zone, at)
            for day in (today - timedelta(days=1), today)
        )

    def _holds_from(self, day: date, zone: ZoneInfo, at: datetime) -> bool:
        """Whether a moment lies in the window that starts on a day.

        Compared as moments, since an hour can come twice: the window starts the first time its
        start comes and ends the last time its end does.
        """
        ends = day if self.from_minute < self.to_minute else day + timedelta(days=1)
        return (
            _moment_of(day, self.from_minute, zone, fold=0)
            <= at
            < (_moment_of(ends, self.to_minute, zone, fold=1))
        )

    def as_data(self) -> dict[str, Any]:
        """JSON form, as `read_freeze` takes it."""
        if self.starts_at is not None and self.ends_at is not None:
            return {"starts_at": self.starts_at.isoformat(), "ends_at": self.ends_at.isoformat()}
        return {
            "days": list(self.days),
            "from": _clock(self.from_minute),
            "to": _clock(self.to_minute),
            "time_zone": self.time_zone,
        }


def _moment_of(day: date, minute: int, zone: ZoneInfo, *, fold: int) -> datetime:
    """A place's time on a day as a moment in UTC."""
    midnight = datetime.combine(day, time(), zone)
    return (midnight + timedelta(minutes=minute)).replace(fold=fold).astimezone(UTC)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def read_freeze(data: dict[str, Any], pointer: str, faults: list[Fault]) -> Freeze:
    """A window out of its JSON form; what is wrong with it is added to `faults`."""
    weekly = any(data.get(name) is not None for name in ("days", "from", "to", "time_zone"))
    if not weekly:
        starts_at = _moment(data.get("starts_at"), f"{pointer}/starts_at", faults)
        ends_at = _moment(data.get("ends_at"), f"{pointer}/ends_at", faults)
        if starts_at is not None and ends_at is not None and ends_at <= starts_at:
            faults.append(Fault(f"{pointer}/ends_at", "empty", "must lie after starts_at"))
        return Freeze(starts_at, ends_at)
    if data.get("starts_at") is not None or data.get("ends_at") is not None:
        detail = "a span has starts_at and ends_at, a weekly window days, from, to and time_zone"
        faults.append(Fault(pointer, "contradiction", detail))
    days = [day for day in DAYS if day in (data.get("days") or ())]
    if not days or len(days) != len(set(data.get("days") or ())):
        faults.append(Fault(f"{pointer}/days", "unknown_day", f"some of {', '.join(DAYS)}"))
    start = _minute(data.get("from") or "00:00", f"{pointer}/from", faults)
    if start == DAY_MINUTES:
        faults.append(Fault(f"{pointer}/from", "invalid_time", "00:00 of the next day is meant"))
    end = _minute(data.get("to") or "24:00", f"{pointer}/to", faults)
    zone = _zone(data.get("time_zone"), f"{pointer}/time_zone", faults)
    return Freeze(None, None, tuple(days), start, end, zone)


def _moment(text: Any, pointer: str, faults: list[Fault]) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        faults.append(Fault(pointer, "invalid_moment", "an RFC 3339 time with its offset"))
        return None
    return moment


def _minute(text: str, pointer: str, faults: list[Fault]) -> int:
    if not _CLOCK.fullmatch(text):
        faults.append(Fault(pointer, "invalid_time", "hours and minutes, from 00:00 to 24:00"))
        return 0
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _zone(name: Any, pointer: str, faults: list[Fault]) -> str:
    try:
        known = bool(_ZONE.fullmatch(name)) and ZoneInfo(name) is not None
    except (TypeError, ValueError, OSError, KeyError):
        known = False
    if not known:
        detail = "a name of the IANA time zone database, such as Europe/Berlin"
        faults.append(Fault(pointer, "unknown_time_zone", detail))
    return str(name)
