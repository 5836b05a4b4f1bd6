"""What `scrinia` can do, by what one comes for; told without reading the modules that do it."""

from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from api.cli.lazy import LazyGroup

# Section → command → its module and attribute, and what it is for.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run a registry": {
        "init": ("operations.init", "begin one: keys, ledger, first admin, token file"),
        "migrate": ("operations.migrate", "prepare a PostgreSQL database, or bring it up to date"),
        "serve": ("operations.serve_command", "serve it, beginning one where there is none"),
        "worker": ("operations.worker", "keep read models and seals up to date, without a port"),
        "doctor": ("operations.doctor", "look for what is wrong here, and what to do"),
        "projections": ("operations.projections_group", "the read models: state, rebuild, compare"),
        "copy": ("moving.copy_command", "move a stopped ledger into another database"),
        "backup": ("moving.backup", "copy the ledger at this moment into a folder"),
        "restore": ("moving.restore", "copy a backup into an empty store"),
        "key": ("keys.key", "the keys that sign events and checkpoints"),
        "webhook": ("webhooks.webhook", "who is told of events by HTTP"),
    },
    "Write prompts": {
        "project": ("projects.project", "projects, each with its environments"),
        "prompt": ("prompts.prompt", "make, edit, read, search, compare prompts"),
        "branch": ("branches.branch", "lines of versions beside main"),
        "guardrail": ("composing.guardrail", "texts composed into every prompt of a folder"),
        "import": ("importing.import_command", "take in prompts from files"),
        "pull": ("working_copy.pull", "bring a folder up to a project's newest versions"),
        "push": ("working_copy.push", "commit what was edited in such a folder"),
        "status": ("working_copy.status", "what is not in step between folder and server"),
    },
    "Bring them live": {
        "label": ("promoting.label", "names that point at versions"),
        "promote": ("promoting.promote", "let an environment serve a version"),
        "rollback": ("promoting.rollback", "return a label to an earlier version"),
        "rollout": ("rollouts.rollout", "another version for some of those who ask"),
        "environment": ("environments.environment", "labels with rules, in order of promotion"),
        "owners": ("environments.owners", "who has to approve what lies in which folder"),
        "change-request": ("changes.change_request", "propose, discuss, approve and apply"),
        "check": ("changes.check", "what gates and outside CI say of a version"),
        "consumer": ("consumers.consumer", "services that say how they use a prompt"),
        "reads": ("consumers.reads", "who was served what, where that is on record"),
    },
    "Sign in": {
        "login": ("sign_in.login", "begin a session: commands are yours until logout"),
        "logout": ("sign_in.logout", "end it"),
        "whoami": ("access.whoami", "who you are here, and what you may do"),
        "password": ("sign_in.password", "change your password"),
        "totp": ("sign_in.totp", "your second factor"),
        "recover": ("sign_in.recover", "set a password with a code from an admin"),
        "session": ("sign_in.session", "who is signed in where"),
        "actor-key": ("signing.actor_key", "keys of your own, to sign approvals with"),
    },
    "Say who may do what": {
        "principal": ("access.principal", "people, services and plugins"),
        "group": ("roles.group", "principals whose grants count for their members"),
        "grant": ("access.grant", "roles in a registry, project, folder or environment"),
        "role": ("roles.role", "named sets of permissions, built in or your own"),
        "token": ("access.token", "API tokens"),
        "explain": ("roles.explain", "why somebody may do something, or may not"),
        "sign-in-rules": ("sign_in.sign_in_rules", "what is asked of every session"),
        "access-rules": ("access_requests.access_rules", "what takes two people to give"),
        "access-request": ("access_requests.access_request", "ask for that, and agree to it"),
        "lift-access-rules": ("operations.lift_rules", "on the host, where nobody can agree"),
    },
    "Prove it": {
        "events": ("trail.events", "events of the ledger, by pages or live"),
        "audit": ("trail.audit", "who did what, when, why, by which grant"),
        "verify": ("operations.verify", "check everything, and list all faults"),
    },
}
COMMANDS = {name: target for section in SECTIONS.values() for name, (target, _) in section.items()}


_WIDTH = max(map(len, COMMANDS))


class Overview(LazyGroup):
    """All commands in their sections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, later=COMMANDS, **kwargs)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each section with its commands."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{_WIDTH}}", about) for name, about in _of(section)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options that begin so."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        commands = [
            CompletionItem(name, help=about)
            for section in SECTIONS.values()
            for name, about in _of(section)
            if name.startswith(incomplete)
        ]
        return commands + options


def _of(section: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, about) for name, (_, about) in section.items()]
