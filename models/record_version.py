"""What a record was: one row for each transaction that changed it or its measurements, worked out from the trail.

Nothing is stored for it. Versions stand in the order in which the database made the changes, which the rows' locks
settle: an entry's time is when its transaction began, and one that waited for another comes after it, however early it
began. `since` is the moment from which a version counts: when its transaction began, or the one before it if that was
later. So the versions that count at any moment are the first of all, with none left out between them.
"""

from typing import Any, Final
from uuid import UUID

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, WardModel, ward

_DRAWN_FROM: Final = """
    select v.entry_id as id, r.organization_id, r.project_id, r.id as record_id, v.place,
           max(v.version) over told as version, max(e.at) over told as since, e.at,
           e.action, e.channel, e.request_id, e.membership_id, e.service_account_id, e.device_id, v.changes,
           p.locations_are_sensitive
      from record r
      join project p on p.organization_id = r.organization_id and p.id = r.project_id
     cross join lateral (
           select c.entry_id, max(c.id) as place,
                  max((c.columns -> 'version' ->> 1)::int) filter (where c.entity = 'record') as version,
                  jsonb_agg(jsonb_build_array(c.operation, c.entity, c.entity_id, c.columns) order by c.id) as changes
             from change c
            where c.organization_id = r.organization_id and c.project_id = r.project_id
              and ((c.entity = 'record' and c.entity_id = r.id) or c.part_of_id = r.id)
            group by c.entry_id) v
      join audit_entry e on e.organization_id = r.organization_id and e.id = v.entry_id
    window told as (partition by r.organization_id, r.project_id, r.id order by v.place)
"""


class RecordVersion(WardModel):
    """One transaction's part in what a record is. It is seen, and guarded, as the record is that there is today.

    `id` is the entry's: of one record no two versions have the same. `changes` are `[operation, table, row, columns]`
    for each row that changed, in order; `columns` as in `models/change.py`. `version` is the record's own.
    `locations_are_sensitive` is today's word of the project, which decides for what was written before as well.
    """

    noun = "record"
    kept = Kept("As long as its record, and as what the trail holds of it.")
    placement = Placement(project_column="project_id")
    is_audited = False
    drawn_from = _DRAWN_FROM

    id = ward(C.PUBLIC, fields.UUIDField(primary_key=True))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    project_id = ward(C.INTERNAL, fields.UUIDField())
    record_id = ward(C.INTERNAL, fields.UUIDField())
    place = ward(C.INTERNAL, fields.BigIntField())
    version = ward(C.PUBLIC, fields.IntField())
    since = ward(C.INTERNAL, fields.DatetimeField())
    at = ward(C.INTERNAL, fields.DatetimeField())
    action = ward(C.INTERNAL, fields.CharField(max_length=64))
    channel = ward(C.INTERNAL, fields.CharField(max_length=16))
    request_id = ward(C.INTERNAL, fields.UUIDField())
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    service_account_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    changes: fields.Field[list[tuple[str, str, UUID, dict[str, Any]]]] = ward(C.INTERNAL, fields.JSONField())
    locations_are_sensitive = ward(C.INTERNAL, fields.BooleanField())

    class Meta:
        table = "record_version"
