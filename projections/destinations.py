"""Where the registry tells others what happens, as it is set: NATS and a SIEM."""

from dataclasses import dataclass, field
from pathlib import Path

SIEM_SCHEMES = ("syslog+udp", "syslog+tcp", "syslog+tls", "otlp+http", "otlp+https")


@dataclass(frozen=True)
class NatsSettings:
    """How to reach NATS, and how many servers keep each message."""

    url: str = field(repr=False)
    credentials_file: Path | None = None
    nkey_seed_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    replicas: int = 1


@dataclass(frozen=True)
class SiemSettings:
    """Where to, and who vouches for it where the system does not know."""

    url: str = field(repr=False)
    tls_ca_file: Path | None = None
