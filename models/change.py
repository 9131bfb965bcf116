"""What each entry changed: one row per changed row, written by the database's triggers and by nothing else."""

from enum import StrEnum
from typing import Any

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, WardModel, ward
from models.errors import TamperedError


class ChangeOperation(StrEnum):
    """What was done to the row, in the words of PostgreSQL's triggers."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class Change(WardModel):
    """The change of one row. `columns` maps each changed column to `[before, after]` as JSON.

    Ciphertext stays ciphertext there; of SECRET columns it says only that they changed. Who may read a value is
    decided by today's guard of that column in the scope of that row. `part_of_id` is the row that it is part of: of a
    measurement its record.
    """

    noun = "audit"
    kept = Kept(
        "For good, where no owner set a period for entries of changes; else until that ends (never under 90 days) after"
        " the row was deleted. But for that, a trigger refuses every change and deletion."
    )
    placement = Placement()
    is_audited = False

    id = ward(C.PUBLIC, fields.BigIntField(primary_key=True))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    entry_id = ward(C.INTERNAL, fields.UUIDField())
    operation = ward(C.INTERNAL, fields.CharEnumField(ChangeOperation, max_length=16))
    entity = ward(C.INTERNAL, fields.CharField(max_length=64))
    entity_id = ward(C.INTERNAL, fields.UUIDField())
    project_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    part_of_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    columns: fields.Field[dict[str, Any]] = ward(C.INTERNAL, fields.JSONField())

    class Meta:
        table = "change"


def stored_bytes(text: str) -> bytes:
    """Return the bytes that PostgreSQL wrote into a change's JSON.

    Raises:
        TamperedError: it would have written them otherwise.
    """
    try:
        stored = bytes.fromhex(text.removeprefix("\\x"))
    except ValueError:
        stored = None
    if stored is None or text != f"\\x{stored.hex()}":
        raise TamperedError("A value in the trail is not written as the database writes bytes.")
    return stored
