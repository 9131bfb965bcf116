"""What lets somebody in, as it stands: written down outside of the database, so that no restore lets in again.

A database that is restored to an earlier moment knows nothing of what was taken away after it: a second factor that was
removed because it was stolen, a device that was blocked, a member who was suspended, a password that was changed. So a
server writes down, every minute, which of these stand; ids alone, and digests of what is a digest already. After a
restore, what the database has and the note has not was taken away since, unless it is newer than the note.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from auth.password import NO_PASSWORD
from auth.principal import SYSTEM_ID
from models.authenticator import Authenticator
from models.device import Device, DeviceStatus
from models.encryption.keystore import KeyStore
from models.inventory import entity_of
from models.invitation import Invitation, InvitationStatus
from models.ledger.tree import last_head
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.reading import Snapshot
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken
from models.transaction import Tenant, fetch
from models.user import User, UserStatus
from resolvers.change import Change

EVERY_S: Final = 60.0
"""Seconds between two looks at what stands."""
NOTE_WAYS_IN: Final = "note_ways_in"
"""The background job's name."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of ways in. standing: the statement that returns each, with since when it is. closing: the one that takes
    some away; None where a restore says only that they are other than they were. Both begin with the organization."""

    name: str
    standing: str
    closing: str | None


def _rows(table: str, condition: str, since: str = "created_at", key: str = "id::text") -> str:
    return f'select {key} as key, {since} as since from "{table}" where organization_id = $1 and {condition}'


def _revoking(table: str, condition: str = "") -> str:
    return (
        f'update "{table}" set revoked_at = $3 where organization_id = $1 and id::text = any($2::text[])'
        f" and revoked_at is null{condition} returning id"
    )


_AUTHENTICATOR: Final = entity_of(Authenticator).name
_ACCOUNT: Final = entity_of(ServiceAccount).name
_TOKEN: Final = entity_of(ServiceAccountToken).name
_DEVICE: Final = entity_of(Device).name
_MEMBERSHIP: Final = entity_of(Membership).name
_INVITATION: Final = entity_of(Invitation).name
_USER: Final = entity_of(User).name
_PROJECT_MEMBERSHIP: Final = entity_of(ProjectMembership).name

# A digest of what is a digest: it says whether the password is another by now, and nothing else.
_PASSWORD: Final = "u.id::text || ':' || left(encode(sha256(convert_to(u.password_hash, 'UTF8')), 'hex'), 32)"  # noqa: S105
_PEOPLE: Final = (
    f'from "{_USER}" u join "{_MEMBERSHIP}" m on m.user_id = u.id where m.organization_id = $1'
    f" and u.status = '{UserStatus.ACTIVE}'"
)

_KINDS: Final = (
    _Kind(
        "factors",
        _rows(_AUTHENTICATOR, "confirmed_at is not null", "confirmed_at"),
        f'delete from "{_AUTHENTICATOR}" where organization_id = $1 and id::text = any($2::text[])'
        " and $3::timestamptz is not null returning id",
    ),
    _Kind("programs", _rows(_ACCOUNT, "revoked_at is null"), _revoking(_ACCOUNT)),
    _Kind("tokens", _rows(_TOKEN, "revoked_at is null"), _revoking(_TOKEN)),
    _Kind(
        "devices",
        _rows(_DEVICE, f"status = '{DeviceStatus.ACTIVE}'"),
        f"update \"{_DEVICE}\" set status = '{DeviceStatus.BLOCKED}', blocked_at = $3, version = version + 1"
        f" where organization_id = $1 and id::text = any($2::text[]) and status = '{DeviceStatus.ACTIVE}' returning id",
    ),
    _Kind(
        "members",
        _rows(_MEMBERSHIP, f"status = '{MembershipStatus.ACTIVE}'"),
        f"update \"{_MEMBERSHIP}\" set status = '{MembershipStatus.SUSPENDED}', version = version + 1"
        " where organization_id = $1 and id::text = any($2::text[]) and $3::timestamptz is not null"
        f" and status = '{MembershipStatus.ACTIVE}' returning id",
    ),
    _Kind(
        "invitations",
        _rows(_INVITATION, f"status = '{InvitationStatus.PENDING}'"),
        f"update \"{_INVITATION}\" set status = '{InvitationStatus.REVOKED}', version = version + 1"
        " where organization_id = $1 and id::text = any($2::text[]) and $3::timestamptz is not null"
        f" and status = '{InvitationStatus.PENDING}' returning id",
    ),
    _Kind(
        "passwords",
        f"select {_PASSWORD} as key, coalesce(u.password_changed_at, u.created_at) as since {_PEOPLE}",
        f"update \"{_USER}\" u set password_hash = '{NO_PASSWORD}'"
        f' from "{_MEMBERSHIP}" m where m.organization_id = $1 and m.user_id = u.id'
        f" and {_PASSWORD} = any($2::text[]) and $3::timestamptz is not null returning u.id",
    ),
    _Kind(
        "roles",
        _rows(_MEMBERSHIP, "true", key="id::text || ':' || role || ':' || coalesce(custom_role_id::text, '')"),
        None,
    ),
    _Kind(
        "project roles",
        _rows(
            _PROJECT_MEMBERSHIP,
            "true",
            key="id::text || ':' || coalesce(role, '') || ':' || coalesce(custom_role_id::text, '')",
        ),
        None,
    ),
)


@dataclass(frozen=True, slots=True)
class WaysIn:
    """What stood at a moment, by organization and kind.

    sizes: how many entries of each organization's trail were sealed by then.
    """

    at: datetime
    sizes: Mapping[UUID, int]
    standing: Mapping[UUID, Mapping[str, Sequence[str]]]

    def to_json(self) -> bytes:
        """Return it as it is written down."""
        return orjson.dumps(
            {
                "at": self.at.isoformat(),
                "sizes": {str(key): size for key, size in self.sizes.items()},
                "standing": {str(key): dict(kinds) for key, kinds in self.standing.items()},
            }
        )

    @classmethod
    def of_json(cls, content: bytes) -> "WaysIn":
        """Return what was written down. Raises `ValueError` if it is no such note."""
        try:
            said: Any = orjson.loads(content)
            return cls(
                at=datetime.fromisoformat(said["at"]),
                sizes={UUID(key): int(size) for key, size in said["sizes"].items()},
                standing={
                    UUID(key): {str(kind): [str(one) for one in keys] for kind, keys in kinds.items()}
                    for key, kinds in said["standing"].items()
                },
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("This is no note of what lets somebody in.") from error

    def is_set_back(self, now: "WaysIn") -> bool:
        """Return whether the database of now knows less of some trail: then it was set back since, and this note says
        what it does not know any more."""
        return any(now.sizes.get(organization_id, 0) < size for organization_id, size in self.sizes.items())


async def ways_in(store: KeyStore) -> WaysIn:
    """Return what stands now, in all organizations, as of one moment. Raises `UnavailableError`."""
    sizes: dict[UUID, int] = {}
    standing: dict[UUID, dict[str, list[str]]] = defaultdict(dict)
    async with Snapshot(Tenant(organization_id=SYSTEM_ID)) as connection:
        # The snapshot is of the first statement: what is committed while it is read is no part of it, and so is later.
        at: datetime = await connection.fetchval("select clock_timestamp()")
        for organization_id in await store.organizations():
            await connection.execute(Tenant(organization_id=organization_id).entering())
            sizes[organization_id] = (await last_head(connection, organization_id)).frontier.size
            for kind in _KINDS:
                rows = await connection.fetch(kind.standing, organization_id)
                standing[organization_id][kind.name] = sorted(row["key"] for row in rows)
    return WaysIn(at, sizes, standing)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was found in an organization. closed: how many of each kind were taken away again. other: how many roles are
    other than they stood last, which is left to people."""

    closed: Mapping[str, int]
    other: Mapping[str, int]


async def close_withdrawn(change: Change, noted: WaysIn) -> Withdrawn:
    """Take away again, in an organization, what the note does not know any more.

    What is newer than the note is left as it is: nobody knows of it otherwise.
    """
    stood = noted.standing.get(change.organization_id)
    if stood is None:
        # The organization is newer than the note.
        return Withdrawn({}, {})
    closed: dict[str, int] = {}
    other: dict[str, int] = {}
    for kind in _KINDS:
        known = set(stood.get(kind.name, ()))
        rows = await fetch(change.connection, kind.standing, change.organization_id)
        gone = [row["key"] for row in rows if row["key"] not in known and row["since"] <= noted.at]
        if not gone:
            continue
        if kind.closing is None:
            other[kind.name] = len(gone)
        else:
            done = await fetch(change.connection, kind.closing, change.organization_id, gone, change.at)
            closed[kind.name] = len(done)
    return Withdrawn(closed, other)
