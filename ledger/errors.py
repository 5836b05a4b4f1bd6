"""What can go wrong in the ledger. Stable codes; the detail says what to do."""

from typing import ClassVar

from eventsourcing.persistence import OperationalError


class LedgerError(Exception):
    """The ledger cannot do this."""

    code: ClassVar[str] = "ledger"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def title(self) -> str:
        """The class's first docstring line."""
        return (type(self).__doc__ or "").strip().splitlines()[0]


class LedgerBusyError(LedgerError):
    """The command lost to other writers too often."""

    code = "busy"


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be written now; the outcome of the command is not known."""

    code = "ledger_unavailable"


class LedgerClosedError(LedgerError):
    """The server is shutting down."""

    code = "shutting_down"


class TamperedError(LedgerError):
    """Stored bytes are not what was signed."""

    code = "tampered"


class UnknownTypeError(LedgerError):
    """The ledger holds an event of a type this program does not know."""

    code = "unknown_type"


class PayloadTooLargeError(LedgerError):
    """An event's payload exceeds its limit."""

    code = "payload_too_large"


class MissingExtraError(LedgerError):
    """A setting needs what is not installed."""

    code = "missing_extra"


class KeyFileError(LedgerError):
    """A key file is missing, unreadable or readable by others."""

    code = "key_file"


class KeyRetiredError(LedgerError):
    """This server's signing key is not in force."""

    code = "key_retired"


class ForkedError(LedgerError):
    """The database is not a continuation of what was sealed before."""

    code = "forked"


class AlreadySealedError(LedgerError):
    """Another process has sealed as much or more."""

    code = "already_sealed"


class NoteError(LedgerError):
    """A signed note or checkpoint is malformed or not signed by a known key."""

    code = "note"


class NoLedgerError(LedgerError):
    """There is no ledger here."""

    code = "no_ledger"


class IdempotencyMismatchError(LedgerError):
    """The Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"


class ClosedError(LedgerError):
    """The ledger takes nothing more here: it was moved away, or is being filled."""

    code = "closed"


class InUseError(LedgerError):
    """A server is running on this ledger."""

    code = "in_use"


class MigrationError(LedgerError):
    """The database is not in the form this version needs."""

    code = "migration"


class StoreUnreachableError(LedgerError, OperationalError):
    """The database does not answer."""

    code = "store_unreachable"
