"""People, outside any tenant. What a tenant sees of a person it sees through the membership."""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Search, Storage, WardModel, new_id, ward
from models.encryption.blind_index import normalize_email
from models.encryption.column import EncryptedField


class UserStatus(StrEnum):
    """SUSPENDED people can't sign in anywhere, and their sessions are refused. Of ERASED ones nothing can be read."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    ERASED = "ERASED"


class User(WardModel):
    """A person's account: how they sign in.

    `email_index` is the blind index, under a key of the whole installation, by which an address is found and unique.
    `password_is_long`: it has the length that is demanded of one that stands alone, without a second factor. Sign-ins
    whose identity was proved before `sessions_valid_from` are over, in every organization.
    """

    noun = "membership"
    kept = Kept("For good: an account is erased by destroying its keys, and its row stays.")
    placement = Placement(own_column="id", own_is_user=True, tenant_column=None)

    id = ward(C.PUBLIC, fields.UUIDField(primary_key=True, default=new_id))
    email = ward(
        C.PERSONAL,
        EncryptedField(max_length=254, owner_column="id", pad=True),
        search=Search("email_index", normalize_email),
    )
    email_index = ward(C.SECRET, fields.BinaryField(unique=False), holds=Storage.BLIND_INDEX)
    password_hash = ward(C.SECRET, fields.CharField(max_length=200), holds=Storage.PASSWORD_HASH)
    password_changed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    password_is_long = ward(C.INTERNAL, fields.BooleanField(default=True))
    sessions_valid_from = ward(C.INTERNAL, fields.DatetimeField(null=True))
    status = ward(C.INTERNAL, fields.CharEnumField(UserStatus, max_length=16, default=UserStatus.ACTIVE))
    created_at = ward(C.INTERNAL, fields.DatetimeField(auto_now_add=True))

    class Meta:
        table = "user_account"
