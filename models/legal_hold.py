"""Legal holds: what must not be deleted, because somebody may have to show it.

A hold is placed on the organization, a project, a site, a record or a person, and keeps what lies in it until it is
lifted: no period, no mutation and no erasure deletes it. The database holds it as well, whoever deletes
(`fieldward_held`, and the triggers `keep_held`). Where a hold is placed while something is being deleted, one waits
for the other: whoever deletes shares a lock that whoever places a hold takes alone, and looks for holds once they
have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from tortoise import fields
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.classification import Classification as C
from models.base import Kept, Placement, TenantModel, ward
from models.encryption.column import EncryptedField
from models.transaction import fetch

LOCKS: Final = 4_614_532
"""The class of the advisory locks between who deletes and who places a hold."""


class HoldOn(StrEnum):
    """What a hold is on. ORGANIZATION: all that there is, the audit trail included."""

    ORGANIZATION = "ORGANIZATION"
    PROJECT = "PROJECT"
    SITE = "SITE"
    RECORD = "RECORD"
    PERSON = "PERSON"


class LegalHold(TenantModel):
    """What must not be deleted, since when, by whose decision and why; it holds until `lifted_at`.

    `subject` is the row that it is on, of a person their membership. `project_id` and `site_code` say of a site or a
    record where it lay when the hold was placed: records that name that code there are held, even where the site has
    another by now.
    """

    noun = "hold"
    kept = Kept("For good: a hold is lifted, and its row stays.")
    placement = Placement()

    subject_kind = ward(C.INTERNAL, fields.CharEnumField(HoldOn, max_length=16))
    subject = ward(C.INTERNAL, fields.UUIDField())
    project_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    site_code = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    reason = ward(C.CONFIDENTIAL, EncryptedField(max_length=2000))
    placed_by_id = ward(C.INTERNAL, fields.UUIDField())
    lifted_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    lifted_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    lift_reason = ward(C.CONFIDENTIAL, EncryptedField(max_length=2000, null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "legal_hold"


@dataclass(frozen=True, slots=True)
class Held:
    """A hold that keeps something. It says nothing of why, and may be shown to whoever asked."""

    hold_id: UUID
    on: HoldOn
    subject_id: UUID


_FOUND: Final = "select h.id, h.subject_kind, h.subject from legal_hold h where h.organization_id = $1"
_OPEN: Final = f"{_FOUND} and h.lifted_at is null"
_IN_HOLD: Final = """
    case h.subject_kind
      when 'PROJECT' then r.project_id = h.subject
      when 'RECORD' then r.id = h.subject
      when 'SITE' then r.project_id = h.project_id and (r.site_code = h.site_code or r.site_code = (
        select s.code from site s where s.organization_id = $1 and s.id = h.subject))
      when 'PERSON' then h.subject = r.created_by_id or h.subject = any(r.contributor_ids)
      else false
    end
"""
_ON_INVITATION: Final = """
    case h.subject_kind
      when 'PROJECT' then i.project_id = h.subject
      when 'PERSON' then h.subject in (i.membership_id, i.invited_by_id)
      else false
    end
"""
_ON_PERSON: Final = f"""
    {_OPEN} and (
      h.subject_kind = 'ORGANIZATION' or (h.subject_kind = 'PERSON' and h.subject = $2)
      or exists (select from record r where r.organization_id = $1 and {_IN_HOLD}
                   and ($2 in (r.created_by_id, r.reviewed_by_id) or $2 = any(r.contributor_ids)))
      or exists (select from invitation i where i.organization_id = $1 and i.membership_id = $2 and {_ON_INVITATION}))
    order by h.id
"""
_ON_ADDRESSES: Final = f"""
    {_OPEN} and (
      h.subject_kind = 'ORGANIZATION'
      or exists (select from invitation i where i.organization_id = $1 and i.email_index = any($2::bytea[])
                   and {_ON_INVITATION}))
    order by h.id
"""
_ON_NAME: Final = f"""
    {_OPEN} and (
      h.subject_kind = 'ORGANIZATION'
      or exists (select from record r where r.organization_id = $1 and r.collector_index = $2 and {_IN_HOLD}))
    order by h.id
"""
_ON_RECORD: Final = f"""
    {_OPEN} and (h.subject_kind = 'ORGANIZATION'
      or exists (select from record r where r.organization_id = $1 and r.id = $2 and {_IN_HOLD}))
    order by h.id
"""
_ON_SITE: Final = f"""
    {_OPEN} and (h.subject_kind = 'ORGANIZATION'
      or exists (select from site s where s.organization_id = $1 and s.id = $2 and case h.subject_kind
        when 'PROJECT' then s.project_id = h.subject
        when 'SITE' then s.id = h.subject
        when 'RECORD' then s.project_id = h.project_id and s.code = h.site_code
        else false end))
    order by h.id
"""


async def lock_holds(connection: BaseDBAsyncClient, organization_id: UUID) -> None:
    """Have whoever places a hold wait for the end of this transaction, and wait for whoever is placing one.

    What is read after this sees the holds that were placed before. Whoever deletes what a hold may keep calls it first.
    """
    await fetch(connection, "select pg_advisory_xact_lock_shared($1, hashtext($2))", LOCKS, str(organization_id))


async def lock_for_placing(connection: BaseDBAsyncClient, organization_id: UUID) -> None:
    """Wait for all who are deleting, and have those who come after wait for the end of this transaction."""
    await fetch(connection, "select pg_advisory_xact_lock($1, hashtext($2))", LOCKS, str(organization_id))


async def holds_on_organization(connection: BaseDBAsyncClient, organization_id: UUID) -> Sequence[Held]:
    """Return every hold in the organization that was not lifted: its erasure would destroy what any of them keeps."""
    return _held(await fetch(connection, f"{_OPEN} order by h.id", organization_id))


async def holds_on_person(connection: BaseDBAsyncClient, organization_id: UUID, membership_id: UUID) -> Sequence[Held]:
    """Return the holds that keep what is a person's: on them, and on what holds records that they had a hand in, or the
    invitation by which they came.
    """
    return _held(await fetch(connection, _ON_PERSON, organization_id, membership_id))


async def holds_on_name(connection: BaseDBAsyncClient, organization_id: UUID, collector_index: bytes) -> Sequence[Held]:
    """Return the holds that keep a record which names somebody as its collector, by the name's blind index."""
    return _held(await fetch(connection, _ON_NAME, organization_id, collector_index))


async def holds_on_addresses(
    connection: BaseDBAsyncClient, organization_id: UUID, email_indexes: Sequence[bytes]
) -> Sequence[Held]:
    """Return the holds that keep invitations to addresses, by their blind indexes; and those on all that there is,
    which need no such invitation.
    """
    return _held(await fetch(connection, _ON_ADDRESSES, organization_id, list(email_indexes)))


async def holds_on_record(connection: BaseDBAsyncClient, organization_id: UUID, record_id: UUID) -> Sequence[Held]:
    """Return the holds that keep a record."""
    return _held(await fetch(connection, _ON_RECORD, organization_id, record_id))


async def holds_on_site(connection: BaseDBAsyncClient, organization_id: UUID, site_id: UUID) -> Sequence[Held]:
    """Return the holds that keep a site."""
    return _held(await fetch(connection, _ON_SITE, organization_id, site_id))


def _held(rows: Sequence[dict[str, Any]]) -> Sequence[Held]:
    return [Held(row["id"], HoldOn(row["subject_kind"]), row["subject"]) for row in rows]
