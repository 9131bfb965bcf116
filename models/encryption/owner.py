"""Whose key seals what: the installation's, an organization's, a person's, and that of who is named in its data."""

from functools import lru_cache
from typing import Final
from uuid import UUID

from auth.principal import SYSTEM_ID
from models.encryption.envelope import KeyOwner, KeyPurpose, OwnerKind

SYSTEM: Final = KeyOwner(OwnerKind.SYSTEM, SYSTEM_ID)
SYSTEM_INDEX: Final = KeyOwner(OwnerKind.SYSTEM, SYSTEM_ID, KeyPurpose.INDEX)
SYSTEM_SIGNING: Final = KeyOwner(OwnerKind.SYSTEM, SYSTEM_ID, KeyPurpose.SIGNING)


@lru_cache(maxsize=4096)
def organization_owner(organization_id: UUID, purpose: KeyPurpose = KeyPurpose.VALUES) -> KeyOwner:
    """Return the owner of the organization's key; what belongs to no tenant is the installation's."""
    kind = OwnerKind.SYSTEM if organization_id == SYSTEM_ID else OwnerKind.ORGANIZATION
    return KeyOwner(kind, organization_id, purpose)


def index_owner(organization_id: UUID) -> KeyOwner:
    """Return the owner of the key of the organization's blind indexes, cursors and digests."""
    return organization_owner(organization_id, KeyPurpose.INDEX)


@lru_cache(maxsize=4096)
def person_owner(user_id: UUID) -> KeyOwner:
    """Return the owner of the person's key."""
    return KeyOwner(OwnerKind.PERSON, user_id)


def export_owner(organization_id: UUID, export_id: UUID, purpose: KeyPurpose = KeyPurpose.CONTENT) -> KeyOwner:
    """Return the owner of the key of an export's file; of VALUES, of that of what its row says.

    Both are among the organization's when those are destroyed.
    """
    return KeyOwner(OwnerKind.EXPORT, export_id, purpose, organization_id)


def erasure_owner(organization_id: UUID, request_id: UUID) -> KeyOwner:
    """Return the owner of the key of what a request for an erasure says."""
    return KeyOwner(OwnerKind.ERASURE, request_id, KeyPurpose.VALUES, organization_id)


def import_owner(organization_id: UUID, import_id: UUID) -> KeyOwner:
    """Return the owner of the key of a file that waits to be imported; it is among the organization's as well."""
    return KeyOwner(OwnerKind.IMPORT, import_id, KeyPurpose.CONTENT, organization_id)


def subject_owner(organization_id: UUID, index: bytes, purpose: KeyPurpose = KeyPurpose.VALUES) -> KeyOwner:
    """Return the owner of the key of somebody whom the organization's data name.

    index: the blind index of the name, 16 bytes: who has the same name is the same subject.
    """
    return KeyOwner(OwnerKind.SUBJECT, UUID(bytes=index), purpose, organization_id)
