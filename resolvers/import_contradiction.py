"""Whether a file contradicts what is stored of a visit, as it would be told of two rows of one file.

Compared is what is stored in plain, and what an import would have written there. A record that somebody changed by hand
is what they made of it: nothing of a file contradicts that. Not compared is what either leaves out, what is sealed, and
name and place, which are mostly the site's and not the visit's: providers measure a site again, and all its old visits
come with the new place. Moment and activity are in the record's id.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from models.change import ChangeOperation
from models.inventory import entity_of
from models.record import Medium, Record
from resolvers.record import Fields, NewRecord

COMPARED: Final = ("site_code", "activity_type", "medium", "method")
"""The columns of a record that are compared, in the order in which a contradiction is told."""
WRITTEN: Final = ("version", *COMPARED)
"""The columns of a stored record that are asked for."""

_ENTITY: Final = entity_of(Record).name
# A record that came with an archive brings no trail, and of an old one it may have expired: then nobody can say.
_AS_IMPORTED: Final = f"""
    select c.entity_id from change c
     where c.organization_id = $1 and c.entity = '{_ENTITY}' and c.entity_id = any ($2)
     group by c.entity_id
    having bool_or(c.operation = '{ChangeOperation.INSERT}' and c.columns -> 'version' ->> 1 = '1')
       and not bool_or(c.operation = '{ChangeOperation.UPDATE}' and c.columns ?| $3)
"""


async def contradictions(
    connection: asyncpg.Connection,
    organization_id: UUID,
    stored: Mapping[UUID, Fields],
    given: Sequence[tuple[UUID, NewRecord]],
) -> dict[UUID, str]:
    """Return of the records that a file contradicts the first column in which it does.

    stored: the records that are there, each with the columns `WRITTEN`. given: what the file says of some of them.
    """
    found = {one: name for one, new in given if (name := _contradicted(stored[one], new.values)) is not None}
    changed = [record_id for record_id in found if stored[record_id]["version"] > 1]
    if not changed:
        return found
    # Whoever adds results to a record, submits or approves it makes it another version, and says nothing else of it.
    rows = await connection.fetch(_AS_IMPORTED, organization_id, changed, list(COMPARED))
    by_hand = set(changed).difference(row["entity_id"] for row in rows)
    return {record_id: name for record_id, name in found.items() if record_id not in by_hand}


def _contradicted(stored: Fields, given: Mapping[str, Any]) -> str | None:
    for name in COMPARED:
        was, said = stored[name], given[name]
        if was is None or said is None or was == said:
            continue
        # Of a medium that has no name here it is not stored which it was, or whether there was any.
        if name == "medium" and Medium.OTHER in (was, said):
            continue
        return name
    return None
