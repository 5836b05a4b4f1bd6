"""Commands on checks, decided."""

import re

from domain import access, commands
from domain.check import STATES, Check, VersionChecks, checks_id
from domain.decision import Answer, Decision
from domain.errors import Fault, InvalidError
from domain.names import check_label
from domain.prompt_deciding import PromptDeciding

URL_CHARS_MAX = 2048
_URL = re.compile(r"https?://[!-~]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class CheckCommands(PromptDeciding):
    """One method per command."""

    def record_check(self, command: commands.RecordCheck) -> Decision:
        """Say what a check found on a version; a later word of the same name replaces it."""
        prompt, provenance = self._prompt(command, access.CHECK_WRITE)
        version = prompt.version_numbered(command.version)
        name = check_label(command.check)
        _check_evidence(command)
        commitment = version.content["commitment"]
        held = self._session.load(VersionChecks, checks_id(prompt.id, version.number))
        checks = held or VersionChecks.open(prompt.id, version.number, commitment, self._now)
        check = Check(
            name, command.state, self._caller.principal_id, self._now, 0,  # type: ignore[arg-type]
            self._text(command.summary, "/summary"),
            self._text(command.evidence_url, "/evidence_url"), command.evidence_digest,
        )  # fmt: skip
        checks.record(check)
        body = {
            "ref": f"{prompt.project}/{prompt.name}@{version.number}",
            "project": prompt.project,
            "name": prompt.name,
            "version": version.number,
            "check": name,
            "state": command.state,
        }
        return self._decision(provenance, Answer(body, made=True), checks)


def _check_evidence(command: commands.RecordCheck) -> None:
    faults = []
    if command.state not in STATES:
        faults.append(Fault("/state", "unknown", f"must be one of {', '.join(STATES)}"))
    url, digest = command.evidence_url, command.evidence_digest
    if url is not None and (len(url) > URL_CHARS_MAX or not _URL.fullmatch(url)):
        detail = f"an http or https URL of at most {URL_CHARS_MAX} characters"
        faults.append(Fault("/evidence_url", "invalid_url", detail))
    if digest is not None and not _DIGEST.fullmatch(digest):
        faults.append(Fault("/evidence_digest", "invalid_digest", "a SHA-256, 64 hex digits"))
    if faults:
        raise InvalidError(f"{faults[0].pointer}: {faults[0].detail}.", faults)
