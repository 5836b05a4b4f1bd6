"""Tries to sign in, counted by name and address before a password is looked at."""

import asyncio
import logging
from datetime import datetime, timedelta
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network

from aiohttp import web

from api.http import edge
from api.http.commanding import commit
from domain import commands
from domain.access import SYSTEM_CALLER
from domain.errors import DomainError, SignInLockedError
from domain.sign_in import SignIn
from ledger.errors import LedgerError
from ledger.ids import now
from projections.sign_in_tries import ADDRESS_TRIES_MAX, TRIES_MAX

log = logging.getLogger("scrinia.sign-in")


async def count_try(request: web.Request, place: str | None, sign_in: SignIn | None = None) -> None:
    """SignInLockedError after too many tries with a name, known or not, or from an address."""
    services, moment = edge.services(request), now()
    tries = services.door.tries
    count, seconds = await edge.read(
        request, partial(tries.count, address=True), _network(request), moment
    )
    if count <= ADDRESS_TRIES_MAX:
        if place is None:
            return
        count, seconds = await edge.read(request, tries.count, place, moment)
        if count == TRIES_MAX + 1 and sign_in is not None and sign_in.password is not None:
            _lock_afterwards(request, sign_in, moment + timedelta(seconds=seconds))
        if count <= TRIES_MAX:
            _check_unlocked(sign_in, moment)
            return
    raise _locked(seconds)


def _check_unlocked(sign_in: SignIn | None, moment: datetime) -> None:
    if sign_in is not None and sign_in.locked_until is not None and sign_in.is_locked(moment):
        raise _locked((sign_in.locked_until - moment).total_seconds())


def _locked(seconds: float) -> SignInLockedError:
    wait = int(seconds) + 1
    return SignInLockedError(f"Too many tries: wait {wait} seconds.", retry_after_seconds=wait)


def _lock_afterwards(request: web.Request, sign_in: SignIn, until: datetime) -> None:
    """Lock a name that is somebody's: behind the answer, which takes as long for all others."""

    async def lock() -> None:
        try:
            await commit(request, SYSTEM_CALLER, commands.LockSignIn(sign_in.id, until))
        except (DomainError, LedgerError) as error:
            log.warning("a lock-out is not in the ledger: %s", error)

    task = asyncio.create_task(lock())
    _locking.add(task)
    task.add_done_callback(_locking.discard)


_locking: set[asyncio.Task[None]] = set()


def _network(request: web.Request) -> str:
    """Where a request comes from, as a keyed hash: of IPv6 the /64, which is one customer."""
    address = edge.address_of(request) or ""
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, IPv6Address):
        address = str(ip_network((parsed, 64), strict=False))
    return edge.services(request).door.secrets.client("address", address)


async def came_in(request: web.Request, place: str) -> None:
    """Let tries of a place count no more: somebody came in."""
    tries = edge.services(request).door.tries
    await edge.read(request, tries.came_in, place, _network(request))
