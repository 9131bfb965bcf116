"""The sites that the records of an export were made at, for formats that name them first."""

from collections.abc import Iterable, Sequence

import asyncpg

from auth.permission import Permission
from auth.principal import Viewer
from models.condition import Criterion
from models.inventory import entity_of
from models.listing import matching
from models.measurement import Measurement
from models.record import Record
from models.site import Site
from models.statement import Statement
from models.withholding import value_of
from resolvers.export_writer import ExportedSite

OF_SITE = ("name", "kind", "latitude", "longitude", "location_is_coarse", "description")
"""What is told of a site, beside its code."""
_OF_RECORD = ("site_name", "latitude", "longitude", "location_is_coarse")


async def export_sites(
    connection: asyncpg.Connection,
    viewer: Viewer,
    conditions: Sequence[Criterion] = (),
    of_measurements: Sequence[Criterion] = (),
    *,
    also: Iterable[Permission] = (),
) -> list[ExportedSite]:
    """Return the sites of the records that the viewer sees and that meet the conditions. One statement.

    of_measurements: what one of a record's measurements is to meet besides.

    What is said of a site comes from the project's sites, as far as the viewer may read those; where there is no such
    site, or it has no place, from the newest of its records that has one. Places are those that everybody is shown who
    reads the row: the centre of the cell, where locations are sensitive.

    also: permissions that are demanded of each record besides.

    Raises:
        LookupError: as `models/listing.py: matching` does.
    """
    statement, record, site = Statement(), entity_of(Record), entity_of(Site)
    touched = ("project_id", "site_code", "collected_at", *_OF_RECORD)
    named = matching(statement, viewer, record, conditions, touched=touched, also=also, alias="t")
    if of_measurements:
        measured = matching(statement, viewer, entity_of(Measurement), of_measurements, alias="m")
        named += f" and exists (select from measurement m where m.record_id = t.id and {measured})"
    newest = matching(statement, viewer, record, conditions, touched=touched, alias="r")
    known = matching(statement, viewer, site, (), touched=("project_id", "code", *OF_SITE), alias="s")
    of_site = ", ".join(f'{value_of(site.columns[name], "s")} as "{name}"' for name in OF_SITE)
    of_record = ", ".join(f'{value_of(record.columns[name], "r")} as "{name}"' for name in _OF_RECORD)
    rows = await connection.fetch(
        f"""
        select c.project_id, c.site_code as code, coalesce(k.name, n.site_name) as name, k.kind, k.description,
               case when k.latitude is null or k.longitude is null then n.latitude else k.latitude end as latitude,
               case when k.latitude is null or k.longitude is null then n.longitude else k.longitude end as longitude,
               case when k.latitude is null or k.longitude is null then n.location_is_coarse
                    else k.location_is_coarse end as is_coarse
        from (select distinct t.project_id, t.site_code from record t where {named}) c
        left join lateral (
          select {of_site} from site s where {known} and s.project_id = c.project_id and s.code = c.site_code
        ) k on true
        left join lateral (
          select {of_record} from record r
          where {newest} and r.project_id = c.project_id and r.site_code = c.site_code
          order by {value_of(record.columns["latitude"], "r")} is null, r.collected_at desc, r.id desc limit 1
        ) n on true
        order by c.project_id, c.site_code
        """,
        *statement.arguments,
    )
    return [
        ExportedSite(
            project_id=row["project_id"],
            code=row["code"],
            name=row["name"],
            kind=row["kind"],
            latitude=row["latitude"],
            longitude=row["longitude"],
            is_coarse=bool(row["is_coarse"]),
            description=row["description"],
        )
        for row in rows
    ]
