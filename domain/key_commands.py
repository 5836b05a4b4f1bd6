"""Commands on the registry's own keys, decided."""

from domain import access, commands
from domain.access import ACCESS_WRITE, REGISTRY
from domain.deciding import Deciding
from domain.decision import Answer, Decision
from domain.errors import Fault, InvalidError, NotFoundError
from domain.keys import PURPOSES, KeyRing, PublicKey, key_id_of

PUBLIC_KEY_BYTES = 32


class KeyCommands(Deciding):
    """One method per command."""

    def register_key(self, command: commands.RegisterKey) -> Decision:
        """Let another key count beside those there are."""
        resource = access.key_resource(key_id_of(command.public_key))
        provenance = self._authorise(ACCESS_WRITE, resource, on=REGISTRY)
        if command.purpose not in PURPOSES or len(command.public_key) != PUBLIC_KEY_BYTES:
            detail = f"a key of {PUBLIC_KEY_BYTES} bytes for one of {', '.join(PURPOSES)}"
            raise InvalidError(f"Give {detail}.", [Fault("/purpose", "unknown_purpose", detail)])
        ring = self._ring(command)
        key_id = key_id_of(command.public_key)
        key = PublicKey(key_id, command.purpose, command.public_key.hex())
        ring.register(key, self._now)
        body = {"key_id": key_id, "purpose": command.purpose, "retired": False}
        return self._decision(provenance, Answer(body, made=True), ring)

    def retire_key(self, command: commands.RetireKey) -> Decision:
        """End a key of which there is another for the same purpose."""
        resource = access.key_resource(command.key_id)
        provenance = self._authorise(ACCESS_WRITE, resource, on=REGISTRY)
        ring = self._ring(command)
        ring.retire(command.key_id, self._now)
        purpose = ring.keys[command.key_id].purpose
        body = {"key_id": command.key_id, "purpose": purpose, "retired": True}
        return self._decision(provenance, Answer(body), ring)

    def _ring(self, command: commands.RegisterKey | commands.RetireKey) -> KeyRing:
        ring = self._session.load(KeyRing, command.ledger_id)
        if ring is None:
            raise NotFoundError("There is no such ledger.")
        return ring
