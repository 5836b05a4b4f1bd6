"""What the server writes to its error stream: lines for people, or JSON for programs."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
COMMANDS = logging.getLogger("scrinia.commands")
SECURITY = logging.getLogger("scrinia.security")
_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _PLAIN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up(level: str, form: str) -> None:
    """Log at `level` and above; every command too where programs read (`json`)."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # the parts say what is away
    if form != "json":
        COMMANDS.setLevel(logging.WARNING)
