"""What was done under a client's `Idempotency-Key`, so that the same request sent again does nothing again."""

from typing import Any

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward


class IdempotencyKey(TenantModel):
    """A key that mutations were done under. `id` is a keyed digest of it and of who sent it, and names nobody.

    `content_digest` is one of what was asked for, under the client's own key as well, which is kept nowhere: whoever
    has the database and our keys can't try out what it was. `answers` says for each mutation, by its name in the
    answer, which row it was about, and what else there was that is no secret: ids, numbers and moments.
    """

    noun = "membership"
    kept = Kept("A day after the key was used first.")
    placement = Placement()
    is_audited = False

    content_digest = ward(C.SECRET, fields.BinaryField(), holds=Storage.CONTENT_DIGEST)
    answers: fields.Field[dict[str, Any]] = ward(C.INTERNAL, fields.JSONField())

    class Meta:
        table = "idempotency_key"
