"""Whether the trail tells how every row came to be what it is: its changes, one over the other, give the rows."""

from typing import Final

import asyncpg

from models.inventory import entities

_MOST_AT_ONCE: Final = 5000
"""Rows that are held against their changes by one statement: so many that what it sorts stays in memory."""

_UNTOLD = """
    with told as (
        select distinct on (c.entity_id, k.key) c.entity_id, k.key, k.value -> 1 as value
        from change c, jsonb_each(c.columns) k
        where c.entity = $1 and {changes}
        order by c.entity_id, k.key, c.id desc
    )
    select count(*)
    from "{table}" r
    cross join lateral jsonb_each(to_jsonb(r)) v
    left join told t on t.entity_id = r.id and t.key = v.key
    where {rows} and v.value is distinct from coalesce(t.value, 'null') and t.value is distinct from '"secret"'
      and t.value is distinct from to_jsonb('sha256:' || encode(sha256(convert_to(v.value #>> '{{}}', 'UTF8')), 'hex'))
"""
_BATCHES = """
    select organization_id, (array_agg(id order by id))[1] as first, (array_agg(id order by id desc))[1] as last
    from (
        select organization_id, id, (row_number() over (partition by organization_id order by id) - 1) / $1 as batch
        from "{table}"
    ) numbered
    group by organization_id, batch
"""


async def untold(superuser: asyncpg.Connection) -> dict[str, int]:
    """Return, by table, how many values of rows are others than the trail's last word of them. Empty where it is so.

    A row is named by its id within its organization: another one may use the same.
    """
    found = {
        entity.name: await (_within if "organization_id" in entity.columns else _everywhere)(superuser, entity.name)
        for entity in entities()
        if entity.model.is_audited
    }
    return {name: count for name, count in found.items() if count}


async def _everywhere(superuser: asyncpg.Connection, table: str) -> int:
    """Return how many values of a table's rows, which are of no organization, are untold."""
    count: int = await superuser.fetchval(_UNTOLD.format(table=table, changes="true", rows="true"), table)
    return count


async def _within(superuser: asyncpg.Connection, table: str) -> int:
    """Return how many values of a table's rows are untold, going through it by organization and id."""
    text = _UNTOLD.format(
        table=table,
        changes="c.organization_id = $2 and c.entity_id between $3 and $4",
        rows="r.organization_id = $2 and r.id between $3 and $4",
    )
    count = 0
    for batch in await superuser.fetch(_BATCHES.format(table=table), _MOST_AT_ONCE):
        count += await superuser.fetchval(text, table, *batch)
    return count
