"""What is found about a PostgreSQL and a database in it, by what the service's own role may see of its settings."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

import asyncpg

from fieldward.check.finding import Finding
from fieldward.check.rule import RULES
from models.base import new_id
from models.finding import Findings
from resolvers.wall_verification import verify_walls

ENDS: Final[Mapping[int, date]] = {
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
"""The day of the last correction of each version of PostgreSQL, as its project announces it."""

_ASKED: Final = (
    *("password_encryption", "log_statement", "log_min_duration_statement", "log_min_duration_sample"),
    *("log_transaction_sample_rate", "log_parameter_max_length", "log_parameter_max_length_on_error"),
    *("log_min_messages", "log_min_error_statement", "log_error_verbosity", "log_connections", "log_disconnections"),
    *("debug_print_parse", "debug_print_rewritten", "debug_print_plan", "fsync", "full_page_writes"),
    *("synchronous_commit", "synchronous_standby_names", "data_checksums", "row_security", "ssl"),
    *("ssl_min_protocol_version", "archive_mode"),
)
_SETTINGS: Final = "select name, setting from pg_settings where name = any($1)"
_SLOTS: Final = """
    select s.slot_name::text as name, coalesce(r.application_name, '') as taken_by
      from pg_replication_slots s left join pg_stat_replication r on r.pid = s.active_pid
     where s.slot_type = 'physical' and not s.temporary and s.wal_status is distinct from 'lost' order by 1
"""
_RECEIVERS: Final = frozenset({"barman_receive_wal", "pg_receivewal"})
"""What those call themselves who keep the WAL that they are sent. A standby replays it, mistakes with it."""
_OPEN: Final = """
    select has_schema_privilege('public', 'public', 'create') as makes,
      has_database_privilege('public', current_database(), 'connect') as connects,
      array(select extname::text from pg_extension order by 1) as extensions
"""
_OURS: Final = frozenset({"plpgsql"})
"""Extensions that there are by right."""
_REACH_OUT: Final = frozenset(
    {
        *("adminpack", "dblink", "file_fdw", "pageinspect", "pg_surgery", "pg_cron", "plperlu", "plpython3u"),
        *("pltclu", "plsh", "plv8", "postgres_fdw", "redis_fdw", "mysql_fdw", "http", "pg_net", "xml2"),
    }
)
_OFF: Final = frozenset({"off", "false", "no", "0", ""})
_MOST_NAMED: Final = 5
_QUIETER_THAN_ERRORS: Final = frozenset({"log", "fatal", "panic"})
_OLD_TLS: Final = frozenset({"TLSv1", "TLSv1.1", ""})


async def server_findings(
    connection: asyncpg.Connection, *, is_embedded: bool, is_keystore: bool = False, today: date | None = None
) -> list[Finding]:
    """Return what is wrong with the server and the database of a connection.

    is_embedded: whether it is the one in the data directory: one machine, without a network, archived by nobody.
    is_keystore: whether the database is the keystore's, which has no trail.
    """
    said = {row["name"]: str(row["setting"]) for row in await connection.fetch(_SETTINGS, list(_ASKED))}
    opened = dict((await connection.fetch(_OPEN))[0])
    slots = {row["name"]: row["taken_by"] for row in await connection.fetch(_SLOTS)}
    version = connection.get_server_version().major
    database = str(await connection.fetchval("select current_database()"))
    found = [
        *_logging(said, database, is_embedded=is_embedded),
        *durability_findings(said, database, slots, is_embedded=is_embedded),
        *_access(said, opened, database),
    ]
    ends = ENDS.get(version)
    # A newer one than is known here is no fault; one that is older than all of them is.
    if version < min(ENDS) or (ends is not None and ends < (today or datetime.now(UTC).date())):
        found.append(Finding(RULES["old-server"], f"PostgreSQL {version}"))
    if not is_keystore:
        walls = Findings(new_id())
        await verify_walls(connection, walls)
        if walls.named:
            more = len(walls) - _MOST_NAMED
            named = ", ".join(one.what for one in walls.named[:_MOST_NAMED])
            found.append(Finding(RULES["walls-down"], f"{database}: {named}" + (f", {more} more" if more > 0 else "")))
    return found


def _logging(said: Mapping[str, str], database: str, *, is_embedded: bool) -> Iterator[Finding]:
    if said["password_encryption"] != "scram-sha-256":  # noqa: S105  (how passwords are kept)
        yield Finding(RULES["password-encryption"], f"password_encryption = {said['password_encryption']}")
    values = [f"{name} = {said[name]}" for name in ("log_statement",) if said[name] not in {"none", "ddl"}]
    is_timed = (
        int(said["log_min_duration_statement"]) >= 0
        or int(said["log_min_duration_sample"]) >= 0
        or float(said["log_transaction_sample_rate"]) > 0
    )
    if is_timed and said["log_parameter_max_length"] != "0":
        values.append(f"log_parameter_max_length = {said['log_parameter_max_length']}, and statements are logged")
    printing = ("debug_print_parse", "debug_print_rewritten", "debug_print_plan")
    values += [f"{name} = {said[name]}" for name in printing if said[name] not in _OFF]
    if values:
        yield Finding(RULES["statements-logged"], f"{database}: {'; '.join(values)}")
    if said["log_min_messages"] not in _QUIETER_THAN_ERRORS:
        quoting = []
        if said["log_error_verbosity"] != "terse":
            quoting.append(f"log_error_verbosity = {said['log_error_verbosity']}")
        if said["log_min_error_statement"] not in _QUIETER_THAN_ERRORS:
            quoting.append(f"log_min_error_statement = {said['log_min_error_statement']}")
        if said["log_parameter_max_length_on_error"] != "0":
            quoting.append(f"log_parameter_max_length_on_error = {said['log_parameter_max_length_on_error']}")
        if quoting:
            yield Finding(RULES["errors-logged"], f"{database}: {'; '.join(quoting)}")
    unlogged = [name for name in ("log_connections", "log_disconnections") if said[name] in _OFF]
    if unlogged and not is_embedded:
        yield Finding(RULES["connections-unlogged"], f"{database}: {', '.join(unlogged)}")


def durability_findings(
    said: Mapping[str, str], database: str, slots: Mapping[str, str], *, is_embedded: bool
) -> Iterator[Finding]:
    """Yield what of the server's settings lets acknowledged changes be lost.

    said: those settings, by name. slots: the physical ones that WAL is kept for, and who is sent it by each: empty
        where nobody is.
    """
    lax = [name for name in ("fsync", "full_page_writes") if said[name] in _OFF]
    if said["synchronous_commit"] in {*_OFF, "local"} and (
        said["synchronous_commit"] != "local" or said["synchronous_standby_names"]
    ):
        lax.append("synchronous_commit")
    if lax:
        shown = ", ".join(f"{name} = {said[name]}" for name in lax)
        yield Finding(RULES["not-durable"], f"{database}: {shown}")
    if said["data_checksums"] in _OFF:
        yield Finding(RULES["no-checksums"], f"{database}: data_checksums = off")
    if is_embedded:
        return
    if not said["synchronous_standby_names"]:
        yield Finding(RULES["no-standby"], f"{database}: synchronous_standby_names is empty")
    if said["archive_mode"] in _OFF and not _RECEIVERS.intersection(slots.values()):
        seen = ", ".join(f"{name} (taken by {by or 'nobody'})" for name, by in slots.items()) or "none"
        yield Finding(RULES["no-archive"], f"{database}: archive_mode = off, and slots: {seen}")
    if said["ssl"] not in _OFF and said["ssl_min_protocol_version"] in _OLD_TLS:
        yield Finding(RULES["old-tls"], f"ssl_min_protocol_version = {said['ssl_min_protocol_version'] or 'any'}")


def _access(said: Mapping[str, str], opened: Mapping[str, Any], database: str) -> Iterator[Finding]:
    if said["row_security"] in _OFF:
        yield Finding(RULES["row-security-off"], f"{database}: row_security = off")
    if opened["makes"]:
        yield Finding(RULES["public-makes"], database)
    if opened["connects"]:
        yield Finding(RULES["public-connects"], database)
    for name in opened["extensions"]:
        if name in _REACH_OUT:
            yield Finding(RULES["extension-reaches-out"], f"{database}: {name}")
        elif name not in _OURS:
            yield Finding(RULES["extension-unneeded"], f"{database}: {name}")
