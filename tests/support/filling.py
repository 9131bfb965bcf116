"""Rows for tables in which the demo leaves none."""

from collections.abc import Mapping, Sequence
from typing import Final

from models.incident import Channel
from tests.support.entry import insert_entry
from tests.support.importing import fill_imports
from tests.support.incident import an_incident
from tests.support.keeping import hold, keep_for
from tests.support.retention import decide
from tests.support.world import World, connect

_NEW: Final = "gen_random_uuid()"
_MEMBER: Final = "(select id from membership where organization_id = $1 order by id limit 1)"
_USER: Final = "(select user_id from membership where organization_id = $1 order by id limit 1)"
_LATER: Final = "now() + interval '1 day'"

_AUTHENTICATOR: Final = (
    "insert into authenticator (id, organization_id, created_at, user_id, membership_id, kind, digest, confirmed_at)"
    f" values ({_NEW}, $1, now(), {_USER}, {_MEMBER}, 'RECOVERY_CODE', '\\x00', now())"
)
_PROGRAM: Final = (
    "insert into service_account (id, organization_id, created_at, name, permissions, created_by_id, expires_at,"
    f" version) values ({_NEW}, $1, now(), 'Pull', '{{}}', {_MEMBER}, {_LATER}, 1)"
)
_TOKEN: Final = (
    "insert into service_account_token (id, organization_id, created_at, service_account_id, token_digest, hint,"
    f" expires_at, created_by_id) select {_NEW}, $1, now(), id, '\\x00', '0000', {_LATER}, created_by_id"
    " from service_account where organization_id = $1 limit 1"
)
_REVIEW: Final = (
    f"insert into access_review (id, organization_id, created_at, due_at, version) values ({_NEW}, $1, now(), now(), 1)"
)
_SITE: Final = (
    "insert into site (id, organization_id, created_at, project_id, code, name, latitude, longitude,"
    f" location_is_coarse, version) select {_NEW}, $1, now(), id, 'W-1', 'Weir', 51.5, -0.25, false, 1 from project"
    " where organization_id = $1 order by code limit 1"
)
_EXPORT: Final = (
    "insert into data_export (id, organization_id, created_at, created_by_id, format, status)"
    f" values ({_NEW}, $1, now(), {_MEMBER}, 'CSV', 'CANCELLED')"
)
_EXPORT_PROGRESS: Final = (
    "insert into data_export_progress (id, organization_id, created_at, attempts, rows_done, bytes_done)"
    " select id, $1, now(), 0, 0, 0 from data_export where organization_id = $1 limit 1"
)
_FILLING: Final[Mapping[str, Sequence[str]]] = {
    "authenticator": (_AUTHENTICATOR,),
    "authenticator_use": (
        _AUTHENTICATOR,
        "insert into authenticator_use (id, organization_id, created_at, user_id, used_at)"
        " select id, $1, now(), user_id, now() from authenticator where organization_id = $1",
    ),
    "challenge": (
        "insert into challenge (id, kind, digest, tenant_id, attempts, created_at, expires_at)"
        f" values ({_NEW}, 'SIGN_IN', '\\x00', $1, 0, now(), {_LATER})",
    ),
    "throttle": (
        "insert into throttle (id, failures, failed_at, free_at)"
        f" select {_NEW}, 1, now(), now() from (select $1::uuid) one",
    ),
    "idempotency_key": (
        "insert into idempotency_key (id, organization_id, created_at, content_digest, answers)"
        f" values ({_NEW}, $1, now(), '\\x00', '{{}}')",
    ),
    "outgoing_mail": (
        "insert into outgoing_mail (id, organization_id, created_at, kind, user_id, state, attempts, next_attempt_at)"
        f" values ({_NEW}, $1, now(), 'PASSWORD_CHANGED', {_USER}, 'PENDING', 0, now())",
    ),
    "invitation": (
        "insert into invitation (id, organization_id, created_at, email, email_index, name, role, invited_by_id,"
        " expires_at, status, version)"
        f" values ({_NEW}, $1, now(), '\\x01', '\\x00', '\\x01', 'MEMBER', {_MEMBER}, {_LATER}, 'PENDING', 1)",
    ),
    "site": (_SITE,),
    "service_account": (_PROGRAM,),
    "service_account_token": (_PROGRAM, _TOKEN),
    "service_account_use": (
        _PROGRAM,
        _TOKEN,
        "insert into service_account_use (id, organization_id, created_at, used_at)"
        " select id, $1, now(), now() from service_account_token where organization_id = $1",
    ),
    "trusted_document": (
        "insert into trusted_document (id, organization_id, created_at, sha256, text, client_name, client_version)"
        f" values ({_NEW}, $1, now(), encode(sha256('{{ __typename }}'), 'hex'), '{{ __typename }}', 'dashboard', '1')",
    ),
    "access_review": (_REVIEW,),
    "data_export": (_EXPORT,),
    "data_export_progress": (_EXPORT, _EXPORT_PROGRESS),
    "data_export_piece": (
        _EXPORT,
        _EXPORT_PROGRESS,
        "insert into data_export_piece (id, organization_id, created_at, export_id, position, start, size, content)"
        f" select {_NEW}, $1, now(), id, 0, 0, 1, '\\x00' from data_export_progress where organization_id = $1 limit 1",
    ),
    "retention_run": (
        "insert into retention_run (id, organization_id, created_at, kind, days, status, is_asked, moved_at, deleted,"
        f" parts) values ({_NEW}, $1, now(), 'RECORD', 365, 'DONE', false, now(), 0, 0)",
    ),
    "erasure_request": (
        "insert into erasure_request (id, organization_id, created_at, kind, status, requested_by_id, due_at, version)"
        f" values ({_NEW}, $1, now(), 'ORGANIZATION', 'REQUESTED', {_MEMBER}, {_LATER}, 1)",
    ),
    "access_review_item": (
        _REVIEW,
        "insert into access_review_item (id, organization_id, created_at, access_review_id, kind, subject,"
        f" membership_id, role, since) select {_NEW}, $1, now(), id, 'MEMBERSHIP', {_MEMBER}, {_MEMBER}, 'MEMBER',"
        " now() from access_review where organization_id = $1",
    ),
}


async def fill(world: World, table: str) -> None:
    """Have rows in a table in which the demo leaves none."""
    await world.client("collector")
    if table.startswith(("incident", "alarm")):
        await an_incident(world, "clearwater", Channel.WEBHOOK)
    if table in {"data_import", "import_mapping", "import_chunk", "import_block"}:
        await fill_imports(world)
    if table == "trail_retention":
        await decide(world, "READ", 365)
    if table == "data_retention":
        await keep_for(world, "RECORD", 365)
    if table == "legal_hold":
        await hold(world, f"Project:{await world.project_id('CANAL')}")
    statements = _FILLING.get(table, ())
    if not statements or await world.value(f"select exists (select from {table})"):
        return
    organization = await world.organization_id("clearwater")
    superuser = await connect(world.superuser)
    try:
        async with superuser.transaction():
            await superuser.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(superuser, organization)
            for statement in statements:
                await superuser.execute(statement, organization)
    finally:
        await superuser.close()
