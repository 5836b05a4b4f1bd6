"""Settings: environment `SCRINIA_…`, else a TOML file, else the default."""

from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from api.provider_settings import ProviderSettings
from domain.user_session import HOURS_MAX
from ledger.datadir import DataDirectory
from projections.destinations import SIEM_SCHEMES, NatsSettings, SiemSettings
from projections.outbound import parse_networks

SQLITE_SCHEME = "sqlite:///"
POSTGRES_SCHEMES = ("postgresql://", "postgres://")
DEFAULT_BIND = "127.0.0.1:8420"


class Settings(BaseSettings):
    """Everything that can be set. Each field is `SCRINIA_` and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="SCRINIA_", env_ignore_empty=True, toml_file="scrinia.toml", frozen=True
    )
    sources: ClassVar[str] = "flags > environment > scrinia.toml > default"

    data_dir: Path = Field(Path("scrinia-data"), description="Where the registry's files lie.")
    database_url: str | None = Field(
        None,
        description="`sqlite:///…`, or `postgresql://role@host/db` after `scrinia migrate`; by"
        " default `ledger.db` in the data directory.",
        repr=False,
    )
    database_direct_url: str | None = Field(
        None,
        description="The same PostgreSQL database where `database_url` leads through a transaction"
        " pooler: LISTEN and rebuilds need a connection of their own.",
        repr=False,
    )
    admin_database_url: str | None = Field(
        None,
        description="PostgreSQL as a role that may create roles and schemas: `scrinia migrate`.",
        repr=False,
    )
    bind: str = Field(DEFAULT_BIND, description="Address and port the server listens on.")
    admin_token_file: Path | None = Field(
        None,
        description="Where `init` writes the first admin's token; by default `admin.token` in"
        " the data directory.",
    )
    processes: int = Field(
        1, ge=1, le=64, description="How many server processes answer on `bind`."
    )
    worker: bool = Field(
        True,
        description="Whether server processes also stand for the parts that only one process does"
        " (read models, sealing); where false, run `scrinia worker`.",
    )
    nats_url: str | None = Field(
        None,
        description="NATS to tell of every change, several by commas ([nats.md](nats.md)).",
        repr=False,
    )
    nats_credentials_file: Path | None = Field(None, description="A NATS credentials file.")
    nats_nkey_seed_file: Path | None = Field(None, description="A file with an nkey's seed.")
    nats_tls_ca_file: Path | None = Field(
        None, description="Who vouches for the NATS server, where the system does not know."
    )
    nats_tls_cert_file: Path | None = Field(None, description="The relay's TLS certificate.")
    nats_tls_key_file: Path | None = Field(None, description="Its private key.")
    nats_replicas: int = Field(
        1, ge=1, le=5, description="NATS servers that keep each message, where the relay begins."
    )
    public_url: str | None = Field(
        None,
        description="Where browsers reach the server, `https://prompts.example.com`: for the origin"
        " of commands with a cookie, and for signing in at an identity provider.",
    )
    oidc_issuer: str | None = Field(
        None,
        description="An OpenID Connect provider to sign in at, `https://id.example.com`"
        " ([sign-in.md](sign-in.md)); needs `public_url` and `oidc_client_id`.",
    )
    oidc_client_id: str | None = Field(None, description="What the provider knows Scrinia as.")
    oidc_client_secret_file: Path | None = Field(
        None, description="A file with the client's secret, where the provider gave one."
    )
    oidc_login_claim: str = Field(
        "email", description="The claim that is the login name; `email` has to be verified there."
    )
    oidc_groups_claim: str | None = Field(
        None, description="The claim that lists groups; without one they are not touched."
    )
    oidc_scopes: str = Field("openid email profile", description="What the provider is asked for.")
    session_hours: float = Field(
        12.0, gt=0, le=HOURS_MAX, description="How long one signs in for, at most 720 hours."
    )
    requests_per_minute: int = Field(
        0,
        ge=0,
        description="Requests a credential may send (an address, where it shows none), 0: any"
        " number. Server processes share it.",
    )
    refusals_per_minute: int = Field(
        300,
        gt=0,
        description="Credentials that do not count which an address may show; then it is told to"
        " wait.",
    )
    access_log_days: float = Field(
        90.0,
        gt=0,
        description="How long reads stay on record, where an environment's rules put them there; at"
        " most a million entries do.",
    )
    max_staleness: float = Field(
        3600.0,
        gt=0,
        description="How long, in seconds, reads are answered while the database is away and"
        " nobody can tell whether a token was revoked.",
    )
    password_memory_mib: int = Field(
        64,
        ge=19,
        le=1024,
        description="Memory for hashing one password (Argon2id), in MiB; two are hashed at once."
        " Passwords are hashed anew when their owners sign in.",
    )
    trusted_proxies: str = Field(
        "",
        description="Networks of one's own proxies, in CIDR form by commas: only what they say in"
        " `X-Forwarded-For` counts, for tokens' networks, for limits by address, for sessions and"
        " for the log of refusals. Behind a proxy without it, all clients are one address.",
    )
    webhook_allowed_networks: str = Field(
        "",
        description="Networks inside that webhooks may go to, by `http` too, in CIDR form by commas"
        " ([webhooks.md](webhooks.md)); else only public addresses, by `https`.",
    )
    webhook_give_up_hours: float = Field(
        24.0, gt=0, description="How long a webhook may fail before it is disabled."
    )
    otlp_url: str | None = Field(
        None,
        description="An OpenTelemetry collector (OTLP over HTTP) for traces,"
        " `http://collector:4318`; needs the extra `otel`.",
    )
    siem_url: str | None = Field(
        None,
        description="Where every event and every refusal goes for a SIEM: `syslog+udp://`,"
        " `syslog+tcp://`, `syslog+tls://`, `otlp+http://` or `otlp+https://` and host:port.",
        repr=False,
    )
    siem_tls_ca_file: Path | None = Field(
        None, description="Who vouches for the SIEM, where the system does not know."
    )
    url: str | None = Field(
        None, description="The server the CLI talks to; by default the data directory's."
    )
    token: str | None = Field(
        None, description="The CLI's API token; by default the admin token file's.", repr=False
    )
    session_file: Path | None = Field(
        None,
        description="Where `scrinia login` keeps sessions; by default `sessions.json` in the"
        " system's folder for settings (`~/.config/scrinia`).",
    )
    serving_bytes_max: int = Field(
        256 * 1024 * 1024, gt=0, description="Memory for prompts held ready to serve, in bytes."
    )
    reader_threads: int = Field(4, ge=1, le=64, description="Threads that read the databases.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much the server logs: `DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Lines for people, or `json`: one object a line, every command told with its"
        " request id and position.",
    )
    scrub_hours: float = Field(
        24.0, gt=0, description="How long one look at every event's signature may take."
    )

    @field_validator("database_url")
    @classmethod
    def _has_a_store(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith((SQLITE_SCHEME, *POSTGRES_SCHEMES)):
            raise ValueError(f"begins with {SQLITE_SCHEME} or {POSTGRES_SCHEMES[0]}")
        return url

    @field_validator("database_url", "database_direct_url", "admin_database_url")
    @classmethod
    def _can_be_read(cls, url: str | None) -> str | None:
        """What the library says of a URL it cannot read may hold the password."""
        if url is None or not url.startswith(POSTGRES_SCHEMES):
            return url
        # Commands that talk to a server do without it.
        from psycopg import ProgrammingError  # noqa: PLC0415
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

        authority, _, path = url.partition("://")[2].partition("/")
        try:
            conninfo_to_dict(url)
            readable = authority.count("@") <= 1 and "@" not in path.partition("?")[0]
        except ProgrammingError:
            readable = False
        if not readable:
            raise ValueError("cannot be read as a URL: percent-encode special characters in it")
        return url

    @field_validator("webhook_allowed_networks", "trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        parse_networks(text)
        return text

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url is not None and (
            parts.scheme not in ("http", "https") or not parts.hostname or parts.query
            or parts.path not in ("", "/") or parts.fragment or parts.username
        ):  # fmt: skip
            raise ValueError("is a scheme and a host, such as https://prompts.example.com")
        return url

    @model_validator(mode="after")
    def _can_sign_in_there(self) -> "Settings":
        if self.oidc_issuer is not None and None in (self.oidc_client_id, self.public_url):
            raise ValueError("SCRINIA_OIDC_ISSUER needs SCRINIA_OIDC_CLIENT_ID and _PUBLIC_URL")
        return self

    @field_validator("otlp_url")
    @classmethod
    def _is_a_collector(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("is a URL such as http://collector:4318")
        return url

    @field_validator("siem_url")
    @classmethod
    def _is_a_siem(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url is not None and (parts.scheme not in SIEM_SCHEMES or not parts.hostname):
            raise ValueError(f"begins with one of {', '.join(SIEM_SCHEMES)} and names a host")
        return url

    @field_validator("bind")
    @classmethod
    def _is_an_address(cls, bind: str) -> str:
        try:
            parts = urlsplit(f"//{bind}")
            good = bool(parts.hostname) and (parts.port is None or parts.port >= 0)
        except ValueError:
            good = False
        if not good:
            raise ValueError("is an address and a port, such as 127.0.0.1:8420 or [::1]:8420")
        return bind

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then TOML."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def public_origin(self) -> str | None:
        """`public_url` as browsers say it in Origin: in lower case, without the usual port."""
        if self.public_url is None:
            return None
        origin = self.public_url.rstrip("/").lower()
        usual = ":443" if origin.startswith("https:") else ":80"
        return origin.removesuffix(usual)

    @property
    def directory(self) -> DataDirectory:
        """The data directory."""
        return DataDirectory(self.data_dir)

    @property
    def on_postgres(self) -> bool:
        """Whether the ledger is kept on PostgreSQL."""
        return self.database_url is not None and self.database_url.startswith(POSTGRES_SCHEMES)

    @property
    def nats(self) -> NatsSettings | None:
        """How to reach NATS; None where there is no relay."""
        if self.nats_url is None:
            return None
        return NatsSettings(
            url=self.nats_url,
            credentials_file=self.nats_credentials_file,
            nkey_seed_file=self.nats_nkey_seed_file,
            tls_ca_file=self.nats_tls_ca_file,
            tls_cert_file=self.nats_tls_cert_file,
            tls_key_file=self.nats_tls_key_file,
            replicas=self.nats_replicas,
        )

    @property
    def provider(self) -> ProviderSettings | None:
        """The identity provider; None where there is none."""
        if self.oidc_issuer is None or self.oidc_client_id is None:
            return None
        file = self.oidc_client_secret_file
        secret = file.read_text().strip() if file is not None else None
        return ProviderSettings(
            self.oidc_issuer, self.oidc_client_id, secret, self.oidc_login_claim,
            self.oidc_groups_claim, self.oidc_scopes,
        )  # fmt: skip

    @property
    def siem(self) -> SiemSettings | None:
        """How to reach the SIEM; None where there is none."""
        return SiemSettings(self.siem_url, self.siem_tls_ca_file) if self.siem_url else None

    @property
    def ledger_file(self) -> Path:
        """The ledger's file on SQLite."""
        if self.database_url is None:
            return self.directory.ledger
        return Path(self.database_url.removeprefix(SQLITE_SCHEME))

    @property
    def token_file(self) -> Path:
        """Where the first admin's token lies."""
        return self.admin_token_file or self.data_dir / "admin.token"

    @property
    def listen(self) -> tuple[str, int]:
        """Host and port of `bind`."""
        parts = urlsplit(f"//{self.bind}")
        return parts.hostname or "127.0.0.1", parts.port if parts.port is not None else 8420


def bracketed(host: str) -> str:
    """A host as a URL writes it."""
    return f"[{host}]" if ":" in host else host


def settings_table() -> str:
    """The settings as docs/settings.md shows them: written by `make docs`."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        default = "" if value in (None, "") else f"`{value}`"
        rows.append(f"| `SCRINIA_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"
