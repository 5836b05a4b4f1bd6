"""What the handlers work with, handed to them by the composition root."""

from concurrent.futures import Executor
from dataclasses import dataclass

from aiohttp import web

from ledger.committer import Committer
from ledger.follower import Follower
from ledger.mapper import SigningMapper
from ledger.recorder import LedgerRecorder
from ledger.repository import Repository
from projections.access import AccessView
from projections.courier import Courier
from projections.deliveries import Deliveries
from projections.delivery import Delivery
from projections.elections import Elections
from projections.feed import Feed
from projections.past import PastCatalogs
from projections.relay import Relay
from projections.runner import Runner
from projections.scrub import Scrub
from projections.serving import ServingView
from projections.transparency import Transparency
from projections.views import Views
from projections.webhooks import WebhookView


@dataclass(frozen=True)
class Services:
    """The running parts of one process."""

    ledger_id: str
    recorder: LedgerRecorder
    repository: Repository
    mapper: SigningMapper
    committer: Committer
    follower: Follower
    serving: ServingView
    access: AccessView
    views: Views
    runner: Runner
    feed: Feed
    elections: Elections
    relay: Relay | None
    webhooks: WebhookView
    deliveries: Deliveries
    courier: Courier
    delivery: Delivery
    scrub: Scrub
    past: PastCatalogs
    transparency: Transparency
    readers: Executor
    operators: Executor


SERVICES = web.AppKey("services", Services)
