"""Commands on webhooks, decided."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from domain import access, commands
from domain.access import ACCESS_READ, PROJECT_WRITE, Resource, Scope
from domain.deciding import Deciding, check_match
from domain.decision import Answer, Decision, Provenance
from domain.errors import Fault, ForbiddenError, NotFoundError, PreconditionFailedError
from domain.granting import check_scope, raise_faults
from domain.topics import KNOWN_TYPES
from domain.webhook import Filters, Webhook, check_there, check_url, no_webhook


class WebhookCommands(Deciding):
    """One method per command."""

    def create_webhook(self, command: commands.CreateWebhook) -> Decision:
        """Make a webhook; its secret is in the answer, once."""
        webhook_id = self._ids.new_id()
        scope = Scope(command.project, command.folder)
        resource = access.webhook_resource(str(webhook_id), scope.project)
        provenance = self._authorise(PROJECT_WRITE, resource, on=scope.resource)
        faults: list[Fault] = []
        check_scope(scope, "", faults)
        raise_faults(faults)
        if scope.project is not None:
            self._project(scope.project)
        filters = Filters(command.types, command.labels).check(KNOWN_TYPES)
        url = self._seal_text(check_url(command.url), "/url")
        description = self._text(command.description, "/description")
        key_id, secret = self._ids.webhook_secret(webhook_id, 1)
        webhook = Webhook.create(
            webhook_id, scope, url, filters, description, key_id, self._now
        )  # fmt: skip
        body = {**_webhook_body(webhook), "secret": None}
        answer = Answer(body, made=True, secret={"secret": secret})
        return self._decision(provenance, answer, webhook)

    def change_webhook(self, command: commands.ChangeWebhook) -> Decision:
        """Change where to and of what, enable, disable; nothing happens where it is so already."""
        webhook, provenance = self._authorised(command.webhook_id)
        check_match(command.if_match, webhook.version)
        changes = self._webhook_changes(webhook, command.patch)
        if changes:
            webhook.change(changes, self._now)
        enabled = command.patch.get("enabled", webhook.enabled)
        if enabled and not webhook.enabled:
            webhook.enable(self._text(command.reason, "/reason"), self._now)
        elif webhook.enabled and not enabled:
            webhook.disable("command", self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_webhook_body(webhook)), webhook)

    def _webhook_changes(
        self, webhook: Webhook, patch: dict[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """What a patch changes: field → {"from", "to"}."""
        changes: dict[str, dict[str, Any]] = {}
        filters = Filters(
            tuple(patch.get("types", webhook.types)), tuple(patch.get("labels", webhook.labels))
        ).check(KNOWN_TYPES)
        for name, old, new in (
            ("types", webhook.types, filters.types), ("labels", webhook.labels, filters.labels),
        ):  # fmt: skip
            if new != old:
                changes[name] = {"from": list(old), "to": list(new)}
        if "url" in patch and not self._is_held(webhook.url, check_url(patch["url"]).encode()):
            changes["url"] = {"from": webhook.url, "to": self._seal_text(patch["url"], "/url")}
        if "description" in patch:
            self._describe(webhook.description, patch["description"], changes)
        return changes

    def rotate_webhook_secret(self, command: commands.RotateWebhookSecret) -> Decision:
        """Sign with a new secret, for some hours beside the one before."""
        webhook, provenance = self._authorised(command.webhook_id)
        check_match(command.if_match, webhook.version)
        number = webhook.secrets[-1].number + 1
        key_id, secret = self._ids.webhook_secret(command.webhook_id, number)
        until = self._now + timedelta(hours=command.overlap_hours)
        webhook.rotate(key_id, until, self._now)
        body = {**_webhook_body(webhook), "previous_until": until.isoformat(), "secret": None}
        answer = Answer(body, made=True, secret={"secret": secret})
        return self._decision(provenance, answer, webhook)

    def delete_webhook(self, command: commands.DeleteWebhook) -> Decision:
        """Tell nothing there any more."""
        webhook, provenance = self._authorised(command.webhook_id)
        check_match(command.if_match, webhook.version)
        webhook.delete(self._text(command.reason, "/reason"), self._now)
        return self._decision(provenance, Answer(_webhook_body(webhook)), webhook)

    def disable_failing_webhook(self, command: commands.DisableFailingWebhook) -> Decision:
        """What the registry itself does: stop telling where nobody listens."""
        webhook = self._webhook(command.webhook_id)
        provenance = self._as_system(PROJECT_WRITE, _resource(webhook))
        if command.edition != webhook.edition:
            raise PreconditionFailedError("The webhook was changed since it failed.")
        if webhook.enabled:
            reason = self._text(command.reason, "/reason")
            webhook.disable(command.cause, reason, self._now)
        return self._decision(provenance, Answer(_webhook_body(webhook)), webhook)

    def _authorised(self, webhook_id: UUID) -> tuple[Webhook, Provenance]:
        """A webhook and the right to change it.

        Where the caller may not even know of its place, it is refused as if there were none.
        """
        webhook = self._webhook(webhook_id)
        place = webhook.scope.resource
        try:
            return webhook, self._authorise(PROJECT_WRITE, _resource(webhook), on=place)
        except NotFoundError:
            raise no_webhook(webhook_id) from None
        except ForbiddenError:
            if webhook.scope.project is None and not self._may(ACCESS_READ, place):
                raise no_webhook(webhook_id) from None
            raise

    def _webhook(self, webhook_id: UUID) -> Webhook:
        return check_there(self._session.load(Webhook, webhook_id), webhook_id)


def _resource(webhook: Webhook) -> Resource:
    return access.webhook_resource(str(webhook.id), webhook.scope.project)


def _webhook_body(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": str(webhook.id),
        "project": webhook.scope.project,
        "folder": webhook.scope.folder,
        "types": list(webhook.types),
        "labels": list(webhook.labels),
        "enabled": webhook.enabled,
        "deleted": webhook.deleted,
    }
