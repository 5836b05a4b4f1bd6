"""What the handlers work with, handed to them by the composition root."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from api.http.identity_provider import IdentityProvider
from api.http.limits import RateLimit
from api.http.passwords import Passwords
from domain.addresses import Network
from domain.sign_in_secrets import SignInSecrets
from ledger.committer import Committer
from ledger.follower import Follower
from ledger.mapper import SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.repository import Repository
from projections.access import AccessView
from projections.courier import Courier
from projections.deliveries import Deliveries
from projections.delivery import Delivery
from projections.due import Due
from projections.elections import Elections
from projections.feed import Feed
from projections.past import PastCatalogs
from projections.projects import ProjectView
from projections.reads import Reads
from projections.relay import Relay
from projections.runner import Runner
from projections.scrub import Scrub
from projections.serving import ServingView
from projections.siem import RefusalExport, SiemExport
from projections.sign_in_tries import SignInTries
from projections.token_uses import TokenUses
from projections.transparency import Transparency
from projections.views import Views
from projections.webhooks import WebhookView

if TYPE_CHECKING:
    from api.telemetry import Telemetry  # of an extra that need not be there


class Part(Protocol):
    """Something that runs until it is closed."""

    async def run(self) -> None:
        """Work until `close`."""

    def close(self) -> None:
        """End `run`."""


@dataclass(frozen=True)
class Door:
    """What lets people in, for how long, and how often one may knock."""

    secrets: SignInSecrets
    passwords: Passwords
    provider: IdentityProvider | None
    tries: SignInTries
    session_hours: float
    public_origin: str | None
    requests_limit: RateLimit | None
    refusals_limit: RateLimit
    max_staleness_seconds: float


@dataclass(frozen=True)
class Services:
    """The running parts of one process."""

    ledger_id: str
    own_keys: frozenset[str]
    recorder: LedgerRecorder
    repository: Repository
    mapper: SigningMapper
    door: Door
    committer: Committer
    follower: Follower
    serving: ServingView
    access: AccessView
    token_uses: TokenUses
    reads: Reads
    proxies: tuple[Network, ...]
    projects: ProjectView
    views: Views
    runner: Runner
    feed: Feed
    elections: Elections
    relay: Relay | None
    siem: SiemExport | None
    refusals: RefusalExport | None
    telemetry: "Telemetry | None"
    webhooks: WebhookView
    deliveries: Deliveries
    courier: Courier
    delivery: Delivery
    expiry: Due
    schedule: Due
    ramps: Due
    scrub: Scrub
    past: PastCatalogs
    transparency: Transparency
    readers: Executor
    operators: Executor

    @property
    def elected(self) -> "Sequence[Part]":
        """The parts that work in one process at a time, whichever holds their lease."""
        parts = (
            self.runner, self.transparency, self.scrub, self.delivery, self.expiry, self.schedule,
            self.ramps, self.relay, self.siem,
        )  # fmt: skip
        return [part for part in parts if part is not None]

    @property
    def outward(self) -> dict[str, int]:
        """How far each part has come that tells something outside, by the name of its tracking."""
        parts = (part for part in (self.relay, self.siem) if part is not None)
        return {name: position for part in parts for name, position in part.positions.items()}


SERVICES = web.AppKey("services", Services)
