"""Webhooks: where the registry tells of its events by HTTP, of which, and since when."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.access import PROMPT_READ, Resource, Scope, not_found, resource_from_text
from domain.commitment import ContentRef
from domain.errors import Fault, InvalidNameError, InvalidWebhookError, NotFoundError
from domain.names import check_label

URL_CHARS_MAX = 2048
FILTERS_MAX = 64
HOST_CHARS_MAX = 253
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
OVERLAP_HOURS_MAX = 168
SECRETS_MAX = 4
Cause = Literal["command", "failing", "gone"]
SYSTEM_CAUSES = ("failing", "gone")


@dataclass(frozen=True)
class Secret:
    """Which secret signs: its number, the key it comes from, until when (None: for good)."""

    number: int
    key_id: str
    until: datetime | None = None


class Webhook(Aggregate):
    """An endpoint that is told. The URL is content, since some carry credentials."""

    TOPIC = "io.scrinia.webhook"

    class Created(Aggregate.Created):
        """From here on events go to `url`: those in `scope` of `types` and `labels`, [] is all."""

        TOPIC = "io.scrinia.webhook.created.v1"
        scope: dict[str, Any]
        url: ContentRef
        types: list[str]
        labels: list[str]
        description: ContentRef | None
        key_id: str

    class Changed(Aggregate.Event):
        """`changes`: field → {"from", "to"}, of url, types, labels and description."""

        TOPIC = "io.scrinia.webhook.changed.v1"
        changes: dict[str, dict[str, Any]]

    class Rotated(Aggregate.Event):
        """Secret `secret` signs from here on, those before at most until `previous_until`."""

        TOPIC = "io.scrinia.webhook.rotated.v1"
        secret: int
        key_id: str
        previous_until: str

    class Enabled(Aggregate.Event):
        """Deliveries go on where they stopped."""

        TOPIC = "io.scrinia.webhook.enabled.v1"
        reason: ContentRef | None

    class Disabled(Aggregate.Event):
        """Deliveries stop: by a command, after failing too long, or the endpoint said 410 Gone."""

        TOPIC = "io.scrinia.webhook.disabled.v1"
        cause: str
        reason: ContentRef | None

    class Deleted(Aggregate.Event):
        """Nothing goes there any more, for good."""

        TOPIC = "io.scrinia.webhook.deleted.v1"
        reason: ContentRef | None

    def __init__(
        self,
        scope: dict[str, Any],
        url: ContentRef,
        types: list[str],
        labels: list[str],
        description: ContentRef | None,
        key_id: str,
    ) -> None:
        self.scope = Scope(**scope)
        self.url = url
        self.types = tuple(types)
        self.labels = tuple(labels)
        self.description = description
        self.secrets: tuple[Secret, ...] = (Secret(1, key_id),)
        self.enabled = True
        self.deleted = False
        self.edition = 1  # another one begins with a clean slate: what failed before is past

    @classmethod
    def create(
        cls,
        webhook_id: UUID,
        scope: Scope,
        url: ContentRef,
        filters: "Filters",
        description: ContentRef | None,
        key_id: str,
        at: datetime,
    ) -> "Webhook":
        """A new webhook, enabled, with secret 1 of the key."""
        return cls._create(
            cls.Created,
            id=webhook_id,
            timestamp=at,
            scope=scope.as_data(),
            url=url,
            types=list(filters.types),
            labels=list(filters.labels),
            description=description,
            key_id=key_id,
        )

    def change(self, changes: dict[str, dict[str, Any]], at: datetime) -> None:
        """Change url, types, labels or description."""
        self.trigger_event(self.Changed, timestamp=at, changes=changes)

    def rotate(self, key_id: str, previous_until: datetime, at: datetime) -> None:
        """Sign with the next secret, beside the one before until then."""
        self.trigger_event(
            self.Rotated,
            timestamp=at,
            secret=self.secrets[-1].number + 1,
            key_id=key_id,
            previous_until=previous_until.isoformat(),
        )

    def enable(self, reason: ContentRef | None, at: datetime) -> None:
        """Deliver again."""
        self.trigger_event(self.Enabled, timestamp=at, reason=reason)

    def disable(self, cause: Cause, reason: ContentRef | None, at: datetime) -> None:
        """Stop delivering."""
        self.trigger_event(self.Disabled, timestamp=at, cause=cause, reason=reason)

    def delete(self, reason: ContentRef | None, at: datetime) -> None:
        """End it."""
        self.trigger_event(self.Deleted, timestamp=at, reason=reason)

    def wants(self, kind_verb: str, resource: str, label: str | None) -> bool:
        """Whether an event is for this webhook; `label`: the one it speaks of."""
        if self.types and not {kind_verb, kind_verb.partition(".")[0]} & set(self.types):
            return False
        if self.labels and label not in self.labels:
            return False
        return self.scope.covers(PROMPT_READ, resource_from_text(resource))

    def signing(self, now: datetime) -> list[Secret]:
        """The secrets that sign now, the newest first."""
        return [s for s in reversed(self.secrets) if s.until is None or now < s.until]

    @event(Changed)
    def _apply_changed(self, changes: dict[str, dict[str, Any]]) -> None:
        for name, change in changes.items():
            value = change["to"]
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        self.edition += bool(changes.keys() - {"description"})

    @event(Rotated)
    def _apply_rotated(self, secret: int, key_id: str, previous_until: str) -> None:
        end = datetime.fromisoformat(previous_until)
        ending = [replace(s, until=min(s.until or end, end)) for s in self.secrets]
        self.secrets = (*ending[1 - SECRETS_MAX :], Secret(secret, key_id))

    @event(Enabled)
    def _apply_enabled(self) -> None:
        self.enabled = True
        self.edition += 1

    @event(Disabled)
    def _apply_disabled(self) -> None:
        self.enabled = False

    @event(Deleted)
    def _apply_deleted(self) -> None:
        self.enabled = False
        self.deleted = True


@dataclass(frozen=True)
class Filters:
    """Which events: `types` are kinds or kind.verbs, `labels` those an event speaks of."""

    types: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def check(self, known: frozenset[str]) -> "Filters":
        """These, sorted, each once; InvalidWebhookError names what is wrong. `known`: types."""
        faults = [
            Fault(f"/types/{index}", "unknown_type", "is a kind or kind.verb of docs/events.md")
            for index, name in enumerate(self.types)
            if name not in known
        ]
        for index, label in enumerate(self.labels):
            try:
                check_label(label)
            except InvalidNameError as error:
                faults.append(Fault(f"/labels/{index}", error.code, error.detail))
        for name, given in (("types", self.types), ("labels", self.labels)):
            if len(given) > FILTERS_MAX:
                faults.append(Fault(f"/{name}", "too_many", f"at most {FILTERS_MAX}"))
        if faults:
            detail = f"{faults[0].pointer}: {faults[0].detail}."
            raise InvalidWebhookError(detail, faults)
        return Filters(tuple(sorted(set(self.types))), tuple(sorted(set(self.labels))))


def check_url(url: str) -> str:
    """Return `url`; InvalidWebhookError unless it is a plain absolute http or https URL."""
    reason = _url_fault(url)
    if reason is not None:
        raise InvalidWebhookError(f"/url {reason}.", [Fault("/url", "invalid_url", reason)])
    return url


def _url_fault(url: str) -> str | None:
    if len(url) > URL_CHARS_MAX:
        return f"has more than {URL_CHARS_MAX} characters"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "holds what a URL cannot: percent-encode it, and write the host in ASCII"
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return "cannot be read as a URL"
    if parts.scheme not in ("https", "http") or not parts.hostname or not port_fits:
        return "is no absolute http or https URL: https://host/path"
    if not _is_host(parts.hostname) or ("[" in parts.netloc) != (":" in parts.hostname):
        return "names no host there can be"
    if parts.username is not None or parts.password is not None:
        return "holds a user or password: the messages are signed, check that instead"
    if parts.fragment:
        return "has a fragment, which is never sent"
    return None


def _is_host(host: str) -> bool:
    """A name by RFC 1123, or an address as it is usually written."""
    if ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            ip_address(host)
        except ValueError:
            return False
        return True
    labels = host.removesuffix(".").split(".")
    return len(host) <= HOST_CHARS_MAX and all(_HOST_LABEL.fullmatch(one) for one in labels)


def check_there(webhook: Webhook | None, webhook_id: UUID) -> Webhook:
    """The webhook; NotFoundError where there is none or none any more."""
    if webhook is None or webhook.deleted:
        raise no_webhook(webhook_id)
    return webhook


def no_webhook(webhook_id: UUID) -> NotFoundError:
    """The one answer for what is absent and for what one may not know of."""
    return not_found(Resource(f"webhooks/{webhook_id}"))
