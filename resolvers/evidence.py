"""What is counted of a running system for whoever audits it: figures alone, and no name, address or value.

Everything is asked of the database in one snapshot of the organization, so that figures agree with each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.inventory import entities
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.backup_metric import backup_figures
from resolvers.backup_watch import BackupAges
from resolvers.change import Change, Intent, commit_change
from resolvers.services import Services
from resolvers.trail import Actor

_COUNTED: Final[Mapping[str, str]] = {
    "people": "select role, status, count(*) from membership group by role, status order by role, status",
    "roles": "select level, count(*), sum(cardinality(permissions)) as permissions from custom_role group by level"
    " order by level",
    "project_roles": "select coalesce(role, 'CUSTOM') as role, count(*), count(expires_at) as that_end"
    " from project_membership group by 1 order by 1",
    "programs": "select case when revoked_at is not null then 'REVOKED' when expires_at <= now() then 'EXPIRED'"
    " else 'GOOD' end as state, count(*), count(networks) as limited_to_networks from service_account"
    " group by 1 order by 1",
    "reviews": "select case when closed_at is not null then 'CLOSED' when due_at < now() then 'OVERDUE' else 'OPEN' end"
    " as state, count(*), max(closed_at) as newest from access_review group by 1 order by 1",
    "devices": "select status, count(*), count(public_key) as with_a_key_of_their_own from device group by status"
    " order by status",
    "sign_in_policy": "select demands_second_factor, people_documents, program_documents from organization"
    " where id = $1",
    "trail": "select kind, outcome, count(*), min(at) as oldest, max(at) as newest from audit_entry"
    " group by kind, outcome order by kind, outcome",
    "trail_retention": "select kind, days from trail_retention order by kind, id",
    "heads": "select count(*), max(tree_size) as tree_size, max(sealed_at) as newest from sealed_batch",
    "cosignatures": "select count(*), max(cosigned_at) as newest from cosignature",
    "incidents": "select rule, severity, status, count(*), max(last_seen_at) as newest from incident"
    " group by rule, severity, status order by rule, severity, status",
    "alarms": "select channel, state, count(*) from alarm_delivery group by channel, state order by channel, state",
    "records": "select status, count(*), count(reviewed_at) as reviewed from record group by status order by status",
    "projects": "select status, count(*), count(fields_off) as without_some_fields from project group by status"
    " order by status",
    "retention": "select kind, days from data_retention order by kind, id",
    "retention_runs": "select kind, status, count(*), sum(deleted) as deleted, max(created_at) as newest"
    " from retention_run group by kind, status order by kind, status",
    "legal_holds": "select subject_kind, count(*), count(lifted_at) as lifted from legal_hold group by subject_kind"
    " order by subject_kind",
    "erasures": "select kind, status, count(*), min(due_at) as first_due, max(finished_at) as newest"
    " from erasure_request group by kind, status order by kind, status",
    "exports": "select format, status, count(*) from data_export group by format, status order by format, status",
    "imports": "select kind, status, count(*), sum(rejected_rows) as rejected_rows from data_import"
    " group by kind, status order by kind, status",
}
"""What is counted of one organization, by name. Under row-level security each sees that organization's rows alone."""


_SETTINGS: Final = (
    *("server_version", "ssl", "password_encryption", "data_checksums", "fsync", "full_page_writes", "wal_level"),
    *("synchronous_commit", "synchronous_standby_names", "archive_mode", "row_security", "log_statement"),
)
_ROLE: Final = """
    select rolsuper as is_superuser, rolbypassrls as passes_row_security, rolcreaterole as makes_roles,
        rolcreatedb as makes_databases, (select count(*) from pg_class where relowner = r.oid) as owned_relations,
        (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as speaks_tls,
        (select count(*) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
            and relrowsecurity and relforcerowsecurity) as tables_with_forced_row_security,
        (select count(*) from pg_trigger where not tgisinternal and tgenabled = 'A') as triggers_always_enabled,
        (select count(*) from pg_trigger where not tgisinternal and tgenabled <> 'A') as triggers_otherwise
    from pg_roles r where rolname = current_user
"""

_SEES_STANDBYS: Final = "select pg_has_role(current_user, 'pg_read_all_stats', 'usage')"
_NOT_SHOWN: Final = "The service's role has no pg_read_all_stats, without which PostgreSQL says nothing of standbys."
_STANDBYS: Final = "select sync_state, state, count(*) from pg_stat_replication group by 1, 2 order by 1, 2"


async def note_evidence(actor: Actor, reason: str | None) -> datetime:
    """Write into the trail that evidence is collected, by whom and why; return the database's time of it.

    Raises:
        ForbiddenError: the viewer in whose name it is may not read the trail.
    """

    async def work(change: Change) -> datetime:
        if change.intent.actor.viewer is not None:
            require(change.viewer, Permission.AUDIT_READ, ORGANIZATION)
        return change.at

    return await commit_change(Intent(Action.EVIDENCE_COLLECT, actor, reason=reason, entity="organization"), work)


async def organization_figures(organization_id: UUID) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return what is counted of an organization, by name: rows of figures.

    Raises:
        UnavailableError: the database is away.
    """
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        return {name: await _counted(connection, text, organization_id) for name, text in _COUNTED.items()}


async def installation_figures(services: Services, ages: BackupAges | None) -> Mapping[str, Any]:
    """Return what is counted of the installation: its keys, how the database lets it in, backups, and what columns
    there are.

    ages: of the backups; None where they are another tool's.

    Raises:
        UnavailableError: a database or the key provider is away.
    """
    async with Snapshot(Tenant()) as connection:
        role = dict(await connection.fetchrow(_ROLE) or {})
        settings = {name: await connection.fetchval("select current_setting($1, true)", name) for name in _SETTINGS}
        standbys = await _standbys(connection)
    return {
        "database": {"role": role, "settings": settings},
        "backups": asdict(await backup_figures(ages, now=datetime.now(UTC))),
        "standbys": standbys,
        "keys": {
            "provider": services.keyring.provider.name,
            "of": [asdict(one) for one in await services.keystore.counts()],
        },
        "columns": _columns(),
    }


async def _counted(connection: asyncpg.Connection, text: str, organization_id: UUID) -> list[Mapping[str, Any]]:
    arguments = [organization_id] if "$1" in text else []
    return [dict(row) for row in await connection.fetch(text, *arguments)]


async def _standbys(connection: asyncpg.Connection) -> Mapping[str, Any]:
    """Return how many standbys follow the database, by how they do; none of that where the role may not know it."""
    if not await connection.fetchval(_SEES_STANDBYS):
        return {"by_sync_state": None, "reason": _NOT_SHOWN}
    return {"by_sync_state": [dict(row) for row in await connection.fetch(_STANDBYS)], "reason": None}


def _columns() -> Mapping[str, Mapping[str, int]]:
    """Return how many columns of each class there are, by how they are stored."""
    counted: dict[str, dict[str, int]] = {}
    for entity in entities():
        for column in entity.columns.values():
            stored = counted.setdefault(str(column.classification), {})
            stored[str(column.storage)] = stored.get(str(column.storage), 0) + 1
    return counted
