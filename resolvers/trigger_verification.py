"""Whether the triggers that write the trail are there and on.

Where one is off, a change of that table is acknowledged and leaves no trace: the row that it changed is named by
`resolvers/row_verification.py`, but only as one that somebody changed behind the trail's back. This says why, and
that it goes on.
"""

from typing import Final

import asyncpg

from models.finding import FindingKind, Findings
from models.inventory import entities

AUDITING: Final = ("change_insert", "change_update", "change_delete", "refuse")
"""The triggers of each audited table: three that write its changes, and the one that takes no TRUNCATE."""
_ALWAYS: Final = "A"
_STATES: Final = {"D": "off", "O": "off in replication", "R": "on in replication alone"}

_TRIGGERS: Final = """
    select c.relname as table, t.tgname as name, t.tgenabled::text as enabled
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'public'::regnamespace and not t.tgisinternal
    order by c.relname, t.tgname
"""


async def verify_triggers(connection: asyncpg.Connection, findings: Findings) -> None:
    """Verify that each audited table has its triggers, and that every trigger of the database is on for everybody."""
    triggers = await connection.fetch(_TRIGGERS)
    there = {(row["table"], row["name"]) for row in triggers}
    for row in triggers:
        if row["enabled"] != _ALWAYS:
            what = f"the trigger {row['name']} of the table {row['table']}"
            findings.add(
                FindingKind.UNGUARDED, what, expected="on, always", got=_STATES[row["enabled"]], table=row["table"]
            )
    for entity in entities():
        for name in AUDITING if entity.model.is_audited else ():
            if (entity.name, name) not in there:
                what = f"the trigger {name} of the table {entity.name}"
                findings.add(FindingKind.UNGUARDED, what, expected="on, always", got="none", table=entity.name)
