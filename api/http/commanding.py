"""Commanding: how every handler has a command decided and committed, and answers.

`?dry_run=true` has it decided, with validation and policy in full, and commits nothing.
"""

import logging
import re
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from aiohttp import web

from api.http import edge
from api.http.problems import EdgeError
from api.http.schemas import CommandQuery
from api.logs import COMMANDS
from domain.access import Caller
from domain.commands import Command
from ledger.batch import Idempotency, Outcome, Submission

IDEMPOTENCY_KEY_CHARS_MAX = 255
WITH_PASSWORDS = "/v1/auth/"
_IDEMPOTENCY_KEY = re.compile(rf"[!-~]{{1,{IDEMPOTENCY_KEY_CHARS_MAX}}}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


async def submit(
    request: web.Request,
    who: Caller,
    command: Command,
    *,
    followed: bool = False,
    beside: Mapping[str, Any] | None = None,
) -> web.Response:
    """Have a command decided and committed, and answer: 201 for what was made, else 200.

    `followed`: answer when this process acts on it too, so that a new token works and a revoked
    one does not from the answer on. `beside`: what is answered too. EdgeError 400 for any parameter
    but `dry_run`.
    """
    dry_run = edge.query(request, CommandQuery).dry_run if request.query_string else False
    idempotency = await _idempotency(request)
    began = time.monotonic()
    submission = Submission(
        command=command,
        caller=who,
        request=_request_data(request),
        idempotency=None if dry_run else idempotency,
        bytes=len(await edge.read_body(request)),
        dry_run=dry_run,
    )
    outcome = await _committed(request, submission)
    seconds = time.monotonic() - began
    request.app[edge.EDGE].commands.add(seconds)
    if COMMANDS.isEnabledFor(logging.INFO):
        _log_command(request, who, command, outcome, seconds)
    if followed and not dry_run:
        await _follow(request, outcome)
    return _command_answer(outcome, beside or {})


async def commit(request: web.Request, who: Caller, command: Command) -> Outcome:
    """Have a command decided and committed that is not retried by a key; its outcome.

    What this process answers by from then on has it too.
    """
    began = time.monotonic()
    outcome = await _committed(request, Submission(command, who, _request_data(request)))
    if COMMANDS.isEnabledFor(logging.INFO):
        _log_command(request, who, command, outcome, time.monotonic() - began)
    await _follow(request, outcome)
    return outcome


async def _follow(request: web.Request, outcome: Outcome) -> None:
    follower = edge.services(request).follower
    if follower.position < outcome.position:
        await follower.wait_beyond(outcome.position - 1, edge.MIN_POSITION_WAIT_SECONDS)


async def ask(request: web.Request, who: Caller, question: Command) -> dict[str, Any]:
    """What a command that appends nothing answers, by what the ledger has at this moment."""
    submission = Submission(question, who, _request_data(request), dry_run=True)
    body = (await _committed(request, submission)).body
    return {name: value for name, value in body.items() if name not in ("changed", "dry_run")}


async def _committed(request: web.Request, submission: Submission) -> Outcome:
    committer, telemetry = edge.services(request).committer, request.app[edge.EDGE].telemetry
    if telemetry is None:
        return await committer.submit(submission)
    with telemetry.command(type(submission.command).__name__) as span:
        outcome = await committer.submit(submission)
        span.set_attribute("scrinia.position", outcome.position)
        span.set_attribute("scrinia.changed", outcome.changed)
        return outcome


def _log_command(
    request: web.Request, who: Caller, command: Command, outcome: Outcome, seconds: float
) -> None:
    """One line: who, what kind, where in the ledger; never what was in it."""
    COMMANDS.info(
        "%s", type(command).__name__,
        extra={
            "request_id": request[edge.REQUEST_ID], "principal": who.principal_id,
            "position": outcome.position, "changed": outcome.changed,
            "replayed": outcome.replayed, "dry_run": outcome.dry_run,
            "seconds": round(seconds, 6),
        },
    )  # fmt: skip


def _command_answer(outcome: Outcome, beside: Mapping[str, Any]) -> web.Response:
    headers = {"Scrinia-Position": str(outcome.position)}
    if outcome.replayed:
        headers["Idempotency-Replayed"] = "true"
    body = {**outcome.body, **beside}
    return edge.answer(body, status=201 if outcome.made else 200, headers=headers)


def _request_data(request: web.Request) -> dict[str, Any]:
    data = {"id": request[edge.REQUEST_ID]}
    telemetry = request.app[edge.EDGE].telemetry
    trace = request.headers.get("traceparent") if telemetry is None else telemetry.traceparent()
    if trace is not None and _TRACEPARENT.fullmatch(trace):
        data["trace"] = trace
    return data


async def _idempotency(request: web.Request) -> Idempotency | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise EdgeError(
            400, "invalid_header",
            f"Idempotency-Key is 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters,"
            " no spaces.",
        )  # fmt: skip
    match = request.headers.get("If-Match", "")
    head = f"{request.method} {request.path_qs}\n{match}\n".encode()
    sent = head + await edge.read_body(request)
    if request.path.startswith(WITH_PASSWORDS):  # which must not be guessed from the hash
        return Idempotency(key, edge.services(request).door.secrets.request(sent))
    return Idempotency(key, sha256(sent).hexdigest())
