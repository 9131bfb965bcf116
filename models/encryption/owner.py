"""Whose key seals what: the installation's, an organization's, a person's."""

from typing import Final
from uuid import UUID

from auth.principal import SYSTEM_ID
from models.encryption.envelope import KeyOwner, OwnerKind

SYSTEM: Final = KeyOwner(OwnerKind.SYSTEM, SYSTEM_ID)


def organization_owner(organization_id: UUID) -> KeyOwner:
    """Return the owner of the organization's key; what belongs to no tenant is the installation's."""
    return SYSTEM if organization_id == SYSTEM_ID else KeyOwner(OwnerKind.ORGANIZATION, organization_id)


def person_owner(user_id: UUID) -> KeyOwner:
    """Return the owner of the person's key."""
    return KeyOwner(OwnerKind.PERSON, user_id)
