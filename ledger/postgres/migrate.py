"""Migrations: the tables, functions and roles of a ledger on PostgreSQL (`scrinia migrate`).

Files `migrations/NNNN_name.pre.sql` are applied before a new version is rolled out and never break
the version that is running; `.post.sql` files only once every process runs the new version. Each is
applied once, in a transaction of its own, as the owner role; grants are given anew every time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier, Literal

from ledger.errors import MigrationError

LEDGER_SCHEMA = "scrinia"
VIEWS_SCHEMA = "scrinia_views"
_LOCK = 0x5C21_11A0  # one migration of a database at a time; any constant will do

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Migration:
    """One file; `post` ones wait until no older version runs."""

    number: int
    name: str
    post: bool
    sql: str

    @property
    def digest(self) -> str:
        """Hex SHA-256: an applied file is never edited."""
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration there is, in order."""
    found = []
    for file in files("ledger.postgres").joinpath("migrations").iterdir():
        stem, _, phase = file.name.removesuffix(".sql").rpartition(".")
        number, _, name = stem.partition("_")
        if number.isdecimal():
            found.append(Migration(int(number), name, phase == "post", file.read_text()))
    return sorted(found, key=lambda migration: migration.number)


@dataclass(frozen=True)
class Migrated:
    """What was done: the names of the migrations applied, and what somebody should know."""

    applied: list[str]
    notes: list[str]


def migrate(admin_url: str, server_url: str, *, post: bool = False) -> Migrated:
    """Bring a database up to date.

    `admin_url` connects as a role that may create roles and schemas, `server_url` names the role
    the server connects as, which is created where it is missing. Raises MigrationError.
    """
    try:
        server = conninfo_to_dict(server_url)
    except psycopg.ProgrammingError:  # whose text may hold the password
        raise MigrationError("SCRINIA_DATABASE_URL cannot be read: percent-encode it.") from None
    try:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            _check(connection, server)
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            owner, notes = _prepare_roles(connection, server)
            applied = list(_apply(connection, owner, post=post))
            _grant(connection, owner, str(server["user"]))
    except psycopg.Error as error:
        raise MigrationError(f"The database cannot be migrated: {error}") from None
    return Migrated(applied, notes)


def pending(connection: Connection, *, post: bool = False) -> list[Migration]:
    """The migrations that a database still lacks; all of them where it has none."""
    known = connection.execute("SELECT to_regclass('scrinia.migrations')").fetchone()
    applied: dict[int, str] = {}
    if known is not None and known[0] is not None:
        applied = dict(connection.execute("SELECT number, digest FROM scrinia.migrations"))
    for migration in migrations():
        if applied.get(migration.number, migration.digest) != migration.digest:
            raise MigrationError(
                f"Migration {migration.number} of this database is not the one in this version:"
                " run the version that migrated it, or a newer one."
            )
    return [m for m in migrations() if m.number not in applied and (post or not m.post)]


def _check(connection: Connection, server: dict[str, Any]) -> None:
    if not server.get("user"):
        raise MigrationError("SCRINIA_DATABASE_URL must name the server's role: role@host/db.")
    if server["user"] == connection.info.user:
        raise MigrationError(
            f"Migrate as another role than {server['user']}: the server's own role must not own"
            " the ledger. Give --admin-url, a role that may create roles in this database."
        )
    if server["user"] == f"{connection.info.dbname}_owner":
        raise MigrationError(f"{server['user']} is the owner's name: let the server be another.")
    if server.get("dbname", server["user"]) != connection.info.dbname:
        raise MigrationError(
            f"The admin URL leads to database {connection.info.dbname}, SCRINIA_DATABASE_URL to"
            f" {server.get('dbname', server['user'])}: name the same one."
        )


def _prepare_roles(connection: Connection, server: dict[str, Any]) -> tuple[str, list[str]]:
    owner = f"{connection.info.dbname}_owner"
    role = str(server["user"])
    notes = []
    with connection.transaction():
        if not _has_role(connection, owner):
            connection.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(owner)))
            connection.execute(SQL("GRANT {} TO CURRENT_USER").format(Identifier(owner)))
        if _has_role(connection, role):
            notes.append(f"Role {role} was there already and keeps its password.")
        else:
            password = server.get("password")
            secret = (
                password
                and connection.pgconn.encrypt_password(
                    str(password).encode(), role.encode(), b"scram-sha-256"
                ).decode()
            )
            connection.execute(
                SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(role), Literal(secret))
            )
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public")
        _create_schema(connection, LEDGER_SCHEMA, owner)
        if not _is_owner(connection, VIEWS_SCHEMA, role):
            notes.append(f"The read models belong to {role} now and are built anew.")
            connection.execute(
                SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(VIEWS_SCHEMA))
            )
        _create_schema(connection, VIEWS_SCHEMA, role)
    return owner, notes


def _has_role(connection: Connection, role: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
    return bool(connection.execute(query, (role,)).fetchone() == (True,))


def _is_owner(connection: Connection, schema: str, role: str) -> bool:
    query = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s"
    row = connection.execute(query, (schema,)).fetchone()
    return row is not None and row[0].strip('"') == role


def _create_schema(connection: Connection, schema: str, owner: str) -> None:
    """Made by the admin and handed over: the owner need not be able to create schemas."""
    name = Identifier(schema)
    connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
    if not _is_owner(connection, schema, owner):
        connection.execute(SQL("GRANT {} TO CURRENT_USER").format(Identifier(owner)))
        connection.execute(SQL("ALTER SCHEMA {} OWNER TO {}").format(name, Identifier(owner)))


def _apply(connection: Connection, owner: str, *, post: bool) -> Iterator[str]:
    with _as_owner(connection, owner):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    for migration in pending(connection, post=post):
        with _as_owner(connection, owner):
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO migrations (number, name, digest) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.digest),
            )
        yield f"{migration.number:04d} {migration.name}"


def _grant(connection: Connection, owner: str, role: str) -> None:
    grants = files("ledger.postgres").joinpath("migrations", "grants.sql").read_text()
    with _as_owner(connection, owner):
        quoted = Identifier(role).as_string(connection)
        connection.execute(grants.replace(":runtime", quoted).encode())


@contextmanager
def _as_owner(connection: Connection, owner: str) -> Iterator[None]:
    """A transaction as the owner role, within the ledger's schema."""
    with connection.transaction():
        connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(owner)))
        connection.execute(
            SQL("SET LOCAL search_path TO {}, pg_temp").format(Identifier(LEDGER_SCHEMA))
        )
        yield
