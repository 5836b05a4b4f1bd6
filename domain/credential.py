"""What checks a secret that people choose: beside the log, written together with its event."""

from dataclasses import dataclass

PASSWORD = "password"  # noqa: S105  # the name of a kind


@dataclass(frozen=True)
class Credential:
    """A principal's verifier of a kind (a PHC string); None takes it away."""

    principal_id: str
    kind: str
    verifier: bytes | None
