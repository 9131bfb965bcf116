"""How often something was tried in vain, so that whoever guesses waits longer and longer, on every process alike."""

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, WardModel, new_id, ward


class Throttle(WardModel):
    """Failures of one account, network or pair of them. `id` is a keyed digest of what it is about, and names nobody.

    `free_at` is when it may be tried again.
    """

    noun = "membership"
    kept = Kept("A day after the last failure.")
    is_audited = False

    id = ward(C.INTERNAL, fields.UUIDField(primary_key=True, default=new_id))
    failures = ward(C.INTERNAL, fields.IntField(default=0))
    failed_at = ward(C.INTERNAL, fields.DatetimeField())
    free_at = ward(C.INTERNAL, fields.DatetimeField())

    class Meta:
        table = "throttle"
