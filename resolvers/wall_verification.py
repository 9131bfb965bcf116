"""Whether what holds the trail in the database stands: its triggers, and row-level security.

Whoever takes a trigger down and puts it up again leaves nothing to see here; what they did meanwhile is found by the
rows and the tree. One that stays down would let every later change go by untold, and that is named.
"""

from typing import Final

import asyncpg

from models.finding import FindingKind, Findings
from models.inventory import entities

_REFUSE: Final = "fieldward_refuse"
_OF_THE_TRAIL: Final = {
    "audit_entry": {
        "refuse": "fieldward_refuse_unless_expired",
        "refuse_truncate": _REFUSE,
        "stamp": "fieldward_stamp_entry",
    },
    "change": {"refuse": "fieldward_refuse_unless_expired", "refuse_truncate": _REFUSE},
    "sealed_leaf": {"refuse": _REFUSE, "mark_expired": "fieldward_mark_expired"},
    "sealed_node": {"refuse": _REFUSE},
    "sealed_batch": {"refuse": _REFUSE, "stamp": "fieldward_stamp_batch"},
    "cosignature": {"refuse": _REFUSE},
    "publication": {"refuse": _REFUSE},
    "challenge": {"refuse": _REFUSE},
    "outgoing_mail": {"refuse": _REFUSE},
    "service_account_use": {"refuse": _REFUSE},
    "throttle": {"refuse": _REFUSE},
    "idempotency_key": {"refuse": _REFUSE},
    "incident_cursor": {"refuse": _REFUSE},
    "alarm_delivery": {"refuse": _REFUSE},
    "import_block": {"refuse": _REFUSE},
    "import_chunk": {"refuse": _REFUSE},
    "data_export_progress": {"refuse": _REFUSE},
    "data_export_piece": {"refuse": _REFUSE},
    "retention_run": {"refuse": _REFUSE},
}
_TRIGGERS: Final = """
    select c.relname::text as table, t.tgname::text as name, p.proname::text as function
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
    where c.relnamespace = 'public'::regnamespace and p.pronamespace = c.relnamespace
      and not t.tgisinternal and t.tgenabled = 'A' and t.tgqual is null
"""
_WALLED: Final = """
    select relname::text as table from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r' and relrowsecurity and relforcerowsecurity
"""


def expected_triggers() -> dict[str, dict[str, str]]:
    """Return the triggers that are always enabled, with the functions that they call, by table."""
    expected = {table: dict(triggers) for table, triggers in _OF_THE_TRAIL.items()}
    for entity in entities():
        if entity.model.is_audited:
            changes = {f"change_{one}": f"fieldward_change_of_{entity.name}" for one in ("insert", "update", "delete")}
            expected[entity.name] = {"refuse": _REFUSE, **changes}
        if entity.kept.period is not None:
            expected[entity.name]["keep_held"] = f"fieldward_keep_held_{entity.name}"
    return expected


async def verify_walls(connection: asyncpg.Connection, findings: Findings) -> None:
    """Verify that each table has its triggers, always enabled, and its rows behind row-level security."""
    stand = {(row["table"], row["name"]): row["function"] for row in await connection.fetch(_TRIGGERS)}
    walled = {row["table"] for row in await connection.fetch(_WALLED)}
    for table, triggers in sorted(expected_triggers().items()):
        for name, function in triggers.items():
            got = stand.get((table, name), "none that is always enabled")
            if got != function:
                findings.add(FindingKind.WALL, f"trigger {name} of {table}", expected=function, got=got, table=table)
        if table not in walled:
            findings.add(FindingKind.WALL, f"table {table}", expected="row-level security, forced", table=table)
