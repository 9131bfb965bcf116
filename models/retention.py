"""How long an organization keeps its data, by their type, and what came of each run that deleted what was over."""

from enum import StrEnum
from typing import Any, cast

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, TenantModel, ward
from models.data_kind import DataKind


class RunStatus(StrEnum):
    """RUNNING: there is more to delete, and another batch goes on. FAILED: a batch failed; the next run tries again."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class DataRetention(TenantModel):
    """After how many days data of a type are deleted; null, or no row of the type: never.

    The database holds the limits, and reads from the trail when it was decided (`models/migrations/sql/`).
    """

    noun = "retention"
    kept = Kept("For good: so is what the trail says of it.")
    placement = Placement()

    kind = ward(C.INTERNAL, fields.CharEnumField(DataKind, max_length=16))
    days = ward(C.INTERNAL, fields.IntField(null=True))

    class Meta:
        table = "data_retention"


class RetentionRun(TenantModel):
    """A run that deleted what was over of one type of data, and what it came to.

    `days` is the period as it was at the last batch. `deleted` counts rows of the type, `parts` what was deleted with
    them: the measurements of records. `held` rows were over and kept by a legal hold, `named` ones because something
    that is still kept names them, at the end of the run. `is_asked` is a run that somebody asked for, beside the daily
    ones. What was deleted is in the trail, under the entries that name it; the run itself is not: an entry that also
    changed a row which stays could never leave the trail, and with it what it tells of those that are gone.
    """

    noun = "retention"
    kept = Kept("For good: it says what was deleted, when and why.")
    placement = Placement()
    is_audited = False

    kind = ward(C.INTERNAL, fields.CharEnumField(DataKind, max_length=16))
    days = ward(C.INTERNAL, fields.IntField())
    status = ward(C.INTERNAL, fields.CharEnumField(RunStatus, max_length=16))
    is_asked = ward(C.INTERNAL, fields.BooleanField(default=False))
    moved_at = ward(C.INTERNAL, fields.DatetimeField())
    ended_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    deleted = ward(C.INTERNAL, fields.BigIntField(default=0))
    parts = ward(C.INTERNAL, fields.BigIntField(default=0))
    # The fields' types say nothing of their being null.
    held: int | None = cast(Any, ward(C.INTERNAL, fields.BigIntField(null=True)))
    named: int | None = cast(Any, ward(C.INTERNAL, fields.BigIntField(null=True)))
    error_code: str | None = cast(Any, ward(C.INTERNAL, fields.CharField(max_length=40, null=True)))

    class Meta:
        table = "retention_run"
