"""Whether the trail tells how every row came to be what it is: its changes, one over the other, give the rows."""

import asyncpg

from models.inventory import entities

_UNTOLD = """
    with told as (
        select distinct on (c.entity_id, place.id, k.key) c.entity_id, place.id as within, k.key, k.value -> 1 as value
        from change c, jsonb_each(c.columns) k, lateral (select {place} as id) place
        where c.entity = $1
        order by c.entity_id, place.id, k.key, c.id desc
    )
    select count(*)
    from "{table}" r
    cross join lateral jsonb_each(to_jsonb(r)) v
    left join told t on t.entity_id = r.id and t.key = v.key
      and t.within is not distinct from (to_jsonb(r) ->> 'organization_id')::uuid
    where v.value is distinct from coalesce(t.value, 'null') and t.value is distinct from '"secret"'
      and t.value is distinct from to_jsonb('sha256:' || encode(sha256(convert_to(v.value #>> '{{}}', 'UTF8')), 'hex'))
"""


async def untold(superuser: asyncpg.Connection) -> dict[str, int]:
    """Return, by table, how many values of rows are others than the trail's last word of them. Empty where it is so.

    A row is named by its id within its organization: another one may use the same.
    """
    found = {
        entity.name: await superuser.fetchval(
            _UNTOLD.format(
                table=entity.name, place="c.organization_id" if "organization_id" in entity.columns else "null::uuid"
            ),
            entity.name,
        )
        for entity in entities()
        if entity.model.is_audited
    }
    return {name: count for name, count in found.items() if count}
