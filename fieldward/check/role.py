"""What is found about how the service is let into a database: as whom, and over what. Asked of the live connection."""

from collections.abc import Iterator
from typing import Any, Final

import asyncpg

from fieldward.check.finding import Finding
from fieldward.check.rule import RULES
from fieldward.check.setting import is_here, remote_hosts
from models.cluster import Credentials

ROLE: Final = """
    select r.rolname::text as role, r.rolsuper as is_super, r.rolbypassrls as bypasses,
      session_user = current_user as is_itself,
      coalesce(s.ssl, false) as is_encrypted, s.version as tls,
      inet_server_addr() is not null as by_network,
      current_database()::text as database,
      exists (
        select from pg_class c where c.relnamespace = 'public'::regnamespace and pg_has_role(c.relowner, 'member')
      ) as owns_tables,
      exists (select from pg_namespace n where n.nspname = 'public' and pg_has_role(n.nspowner, 'member'))
        as owns_schema,
      exists (select from pg_database d where d.datname = current_database() and pg_has_role(d.datdba, 'member'))
        as owns_database,
      array(
        select b.rolname::text from pg_roles b
        where (b.rolsuper or b.rolbypassrls) and b.oid <> r.oid and pg_has_role(b.oid, 'member') order by 1
      ) as stronger,
      array(
        select m.rolname::text from pg_roles m where m.rolcreaterole and pg_has_role(m.oid, 'member') order by 1
      ) as makes_roles,
      array(
        select m.rolname::text from pg_roles m where m.rolcreatedb and pg_has_role(m.oid, 'member') order by 1
      ) as makes_databases,
      array(
        select m.rolname::text from pg_roles m where m.rolreplication and pg_has_role(m.oid, 'member') order by 1
      ) as replicates,
      array(
        select p.rolname::text from pg_roles p
        where p.rolname like 'pg\\_%' and p.rolname <> 'pg_database_owner' and pg_has_role(p.oid, 'member') order by 1
      ) as predefined
    from pg_roles r left join pg_stat_ssl s on s.pid = pg_backend_pid()
    where r.rolname = current_user
"""
_HARMLESS: Final = frozenset({"pg_monitor", "pg_read_all_stats", "pg_read_all_settings", "pg_stat_scan_tables"})
"""Of PostgreSQL's own roles those that see how the server is doing, and no row."""
_LOGGED_IN_BY: Final = "select system_user"
_KNOWS_HOW: Final = 160000
"""The version from which PostgreSQL says how somebody was let in."""
_MAY_SWITCH: Final = "select has_parameter_privilege(current_user, 'session_replication_role', 'set')"


async def role_findings(connection: asyncpg.Connection, credentials: Credentials) -> list[Finding]:
    """Return what is wrong with the role and the connection."""
    found = (await connection.fetch(ROLE))[0]
    by = None
    if connection.get_server_version().major >= _KNOWS_HOW // 10_000:
        by = str(await connection.fetchval(_LOGGED_IN_BY) or "trust")
    may_switch = bool(await connection.fetchval(_MAY_SWITCH))
    return list(judged(dict(found), by, credentials, may_switch=may_switch))


def judged(found: dict[str, Any], by: str | None, credentials: Credentials, *, may_switch: bool) -> Iterator[Finding]:
    """Yield what is wrong by what was told.

    found: the row of `ROLE`. by: how the role proved itself; None where that is not told. may_switch: whether it may
        set `session_replication_role`.
    """
    role, database = found["role"], found["database"]
    where = f"{role} in {database}"
    if found["is_super"]:
        # It has all the rest, too, and none of it is another thing to do.
        yield Finding(RULES["role-superuser"], where)
        yield from _connection(found, by, credentials)
        return
    if found["bypasses"] or found["stronger"]:
        through = f", as a member of {', '.join(found['stronger'])}" if found["stronger"] else ""
        yield Finding(RULES["role-bypasses-walls"], f"{where}{through}")
    elif may_switch:
        yield Finding(RULES["role-bypasses-walls"], f"{where} may set session_replication_role")
    owned = [name for name in ("tables", "schema", "database") if found[f"owns_{name}"]]
    if owned:
        yield Finding(RULES["role-owns"], f"{where} owns {', '.join(owned)}")
    made = [_made(name, found[name], role) for name in ("makes_roles", "makes_databases", "replicates") if found[name]]
    if made:
        yield Finding(RULES["role-makes-others"], f"{where} {', '.join(made)}")
    reaching = [name for name in found["predefined"] if name not in _HARMLESS]
    if reaching:
        yield Finding(RULES["role-reaches-out"], f"{where} is a member of {', '.join(reaching)}")
    yield from _connection(found, by, credentials)


def _made(name: str, by: list[str], role: str) -> str:
    """Return what may be made, and as whom where it takes `set role`: such attributes are not inherited."""
    return name.replace("_", " ") + ("" if role in by else f" as a member of {', '.join(by)}")


def _connection(found: dict[str, Any], by: str | None, credentials: Credentials) -> Iterator[Finding]:
    where = f"{found['role']} in {found['database']}"
    host = credentials["host"]
    is_remote = bool(remote_hosts(credentials)) or (isinstance(host, str) and not is_here(host))
    if is_remote and found["by_network"] and not found["is_encrypted"]:
        yield Finding(RULES["connection-plain"], where)
    if by == "trust":
        yield Finding(RULES["connection-trusted"], where)
    elif by is not None and by.startswith("md5:"):
        yield Finding(RULES["connection-md5"], where)
