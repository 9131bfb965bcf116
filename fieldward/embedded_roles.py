"""The roles of the embedded PostgreSQL: who there is, what each may do, and where their passwords are kept.

Promises: no role but PostgreSQL's own superuser gets round row-level security; the service owns nothing and makes
nothing; the passwords are random, and in one file that is its owner's alone. No statement holds one: PostgreSQL is
given what it keeps of them.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SUPERUSER: Final = "postgres"
OWNER: Final = "fieldward_owner"
"""Owns the databases, and migrates them."""
SERVICE_GROUP: Final = "fieldward_service"
"""Cannot sign in. Migrations grant to it."""
SERVICE: Final = "fieldward_app"
"""The service: of that group, and no more."""
DATABASES: Final = ("fieldward", "fieldward_keys")

_SCRAM_ROUNDS: Final = 4096
"""PostgreSQL's own. The passwords are random, so that more rounds would guard nothing."""


class PasswordFileError(Exception):
    """The file of passwords can't be used. The message says why, and what to do."""


def load_passwords(path: Path, *, is_first_start: bool) -> Mapping[str, str]:
    """Return the roles' passwords; made at the first start, when there is no database that knows others.

    Raises:
        PasswordFileError: the file is missing, open to others, or does not hold the passwords.
    """
    roles = (SUPERUSER, OWNER, SERVICE)
    if not path.exists():
        if not is_first_start:
            raise PasswordFileError(f"{path}, which holds the passwords of the database, is missing. Restore it.")
        _write_private(path, json.dumps({role: secrets.token_urlsafe(32) for role in roles}))
    if path.stat().st_mode & 0o077:
        raise PasswordFileError(f"{path} is open to others than its owner. Close it: chmod 600 {path}")
    try:
        kept = json.loads(path.read_text())
        return {role: str(kept[role]) for role in roles}
    except (ValueError, KeyError, TypeError) as error:
        raise PasswordFileError(f"{path} does not hold the passwords of the database. Restore it.") from error


def setup_script(passwords: Mapping[str, str]) -> str:
    """Return what psql runs, as the superuser, to make the roles and databases that are not there.

    It may be run again. Roles get their passwords anew each time.
    """
    owner, service, superuser = (_literal(scram_verifier(passwords[role])) for role in (OWNER, SERVICE, SUPERUSER))
    roles = f"""
        do $$ begin
          if not exists (select from pg_roles where rolname = '{OWNER}') then
            create role {OWNER} login;
          end if;
          if not exists (select from pg_roles where rolname = '{SERVICE_GROUP}') then
            create role {SERVICE_GROUP} nologin;
            grant {SERVICE_GROUP} to {OWNER} with admin option, inherit false, set false;
          end if;
          if not exists (select from pg_roles where rolname = '{SERVICE}') then
            create role {SERVICE} login in role {SERVICE_GROUP};
          end if;
        end $$;
        alter role {OWNER} nosuperuser nobypassrls nocreatedb createrole password {owner};
        alter role {SERVICE} nosuperuser nobypassrls nocreatedb nocreaterole inherit password {service};
        -- Of a database that came back from a backup the file of passwords may be another.
        alter role {SUPERUSER} password {superuser};
        -- An error may quote a value. Whoever made it is told; the log keeps what goes wrong by itself.
        alter role {OWNER} set log_min_messages = 'log';
        alter role {SERVICE} set log_min_messages = 'log';
        """  # noqa: S608  (names of our own, and literals)
    return roles + "".join(_database_script(name) for name in DATABASES)


def scram_verifier(password: str) -> str:
    """Return what PostgreSQL keeps of a password of ASCII letters (RFC 5802, RFC 7677), under a fresh salt.

    A statement is logged, counted and shown to others of the same role by whatever the server is told to; with this in
    it instead of the password, there is nothing in it to sign in with.
    """
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _SCRAM_ROUNDS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{told[0]}${told[1]}:{told[2]}"


def _database_script(name: str) -> str:
    return f"""
        select 'create database {name} owner {OWNER}'
         where not exists (select from pg_database where datname = '{name}') \\gexec
        \\connect {name}
        revoke all on database {name} from public;
        grant connect on database {name} to {SERVICE_GROUP};
        alter schema public owner to {OWNER};
        revoke create on schema public from public;
        """  # noqa: S608  (names of our own)


def _write_private(path: Path, text: str) -> None:
    """Write a file that is its owner's alone from its first byte, and under its name only when it is whole."""
    made = path.with_suffix(".new")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    made.rename(path)


def _literal(text: str) -> str:
    """Return a SQL literal, whatever the text holds (a backslash stands for itself: standard_conforming_strings)."""
    return "'" + text.replace("'", "''") + "'"
