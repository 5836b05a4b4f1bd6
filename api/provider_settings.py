"""The identity provider as it is set: light, since every command reads the settings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProviderSettings:
    """Which provider, as whom, and which claims say who somebody is and in which groups."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    login_claim: str
    groups_claim: str | None
    scopes: str
