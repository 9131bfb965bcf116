"""What lets somebody in, as it stands: written down outside of the database, so that no restore lets in again.

A database that is restored to an earlier moment knows nothing of what was taken away after it: a second factor that was
removed because it was stolen, a device that was blocked, a member who was suspended, a password that was changed. So a
server writes down, every minute, which of these stand; ids alone, and digests. After a restore, what the database has
and the note has not was taken away since, unless it is newer than the note. What was made stricter is noted as well,
and is as strict again; so are legal holds (`resolvers/restored_hold.py`), and who had a second factor
(`resolvers/restored_factor.py`). So are requests for erasure that are not over: who made one that is lost waits for it
(`resolvers/restored_erasure.py`).
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
from models.authenticator import Authenticator, AuthenticatorKind
from models.custom_role import CustomRole
from models.device import Device, DeviceStatus
from models.encryption.keystore import KeyStore
from models.erasure_request import ErasureRequest, ErasureStatus
from models.inventory import entity_of
from models.invitation import Invitation, InvitationStatus
from models.ledger.tree import last_head
from models.legal_hold import LegalHold
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.organization import DocumentPolicy, Organization
from models.project import Project
from models.reading import Snapshot
from models.retention import DataRetention
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken
from models.trail_retention import TrailRetention
from models.transaction import Tenant, fetch
from models.user import User, UserStatus
from resolvers.change import Change

EVERY_S: Final = 60.0
"""Seconds between two looks at what stands."""
NOTE_WAYS_IN: Final = "note_ways_in"
"""The background job's name."""
PERIODS: Final = ("periods", "periods of the trail")
"""Kinds of what is noted that say after how many days something is deleted."""
HAVING_FACTORS: Final = "people with a second factor"
HOLDS: Final = "holds"
ERASURES: Final = "erasures"
"""Kinds of what is noted that others look at: the accounts, the holds that keep something, and what is to be erased."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of what is noted. standing: the statement that returns each, with since when it is. closing: the one that
    takes away what the note has not. tightening: the one that brings back what the database has not. Each begins with
    the organization. Where there is neither, a restore says only how many are other than they were.
    """

    name: str
    standing: str
    closing: str | None = None
    tightening: str | None = None


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
_ROLE: Final = entity_of(CustomRole).name
_PERIOD: Final = entity_of(DataRetention).name
_TRAIL_PERIOD: Final = entity_of(TrailRetention).name
_ORGANIZATION: Final = entity_of(Organization).name
_PROJECT: Final = entity_of(Project).name

# A digest of what is a digest: it says whether the password is another by now, and nothing else.
_PASSWORD: Final = "u.id::text || ':' || left(encode(sha256(convert_to(u.password_hash, 'UTF8')), 'hex'), 32)"  # noqa: S105
_PEOPLE: Final = (
    f'from "{_USER}" u join "{_MEMBERSHIP}" m on m.user_id = u.id where m.organization_id = $1'
    f" and u.status = '{UserStatus.ACTIVE}'"
)


def _digest_of(*texts: str) -> str:
    """Return the expression of an id with a digest of some texts."""
    joined = " || '|' || ".join(texts)
    return f"id::text || ':' || left(encode(sha256(convert_to({joined}, 'UTF8')), 'hex'), 32)"


def _sorted(column: str) -> str:
    return f"coalesce((select string_agg(one::text, ',' order by one::text) from unnest({column}) one), '-')"


def _until(column: str) -> str:
    return f"coalesce(extract(epoch from {column})::text, '')"


def _forgetting_period(table: str) -> str:
    return (
        f'update "{table}" set days = null where organization_id = $1'
        " and kind || ':' || days = any($2::text[]) and $3::timestamptz is not null returning id"
    )


_KINDS: Final = (
    _Kind(
        "factors",
        # A recovery code that was used is none any more.
        _rows(
            _AUTHENTICATOR,
            f"confirmed_at is not null and (kind <> '{AuthenticatorKind.RECOVERY_CODE}'"
            " or id not in (select fieldward_used_authenticators()))",
            "confirmed_at",
        ),
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
    # What would be deleted by a period that was made longer since, or taken away, is gone for good: nothing is, until
    # somebody decides anew.
    _Kind(
        PERIODS[0],
        _rows(_PERIOD, "days is not null", key="kind || ':' || days"),
        _forgetting_period(_PERIOD),
    ),
    _Kind(
        PERIODS[1],
        _rows(_TRAIL_PERIOD, "days is not null", key="kind || ':' || days"),
        _forgetting_period(_TRAIL_PERIOD),
    ),
    _Kind(
        "policies",
        f'select p.key, o.created_at as since from "{_ORGANIZATION}" o, lateral (values'
        " ('demands_second_factor', o.demands_second_factor),"
        f" ('people_documents', o.people_documents = '{DocumentPolicy.TRUSTED_ONLY}'),"
        f" ('program_documents', o.program_documents = '{DocumentPolicy.TRUSTED_ONLY}')) as p (key, is_strict)"
        " where o.id = $1 and p.is_strict",
        tightening=f'update "{_ORGANIZATION}" set'
        " demands_second_factor = demands_second_factor or 'demands_second_factor' = any($2::text[]), "
        + ", ".join(
            f"{column} = case when '{column}' = any($2::text[]) then '{DocumentPolicy.TRUSTED_ONLY}' else {column} end"
            for column in ("people_documents", "program_documents")
        )
        + " where id = $1 and $3::timestamptz is not null returning id",
    ),
    _Kind(
        "roles",
        _rows(
            _MEMBERSHIP,
            "true",
            key="id::text || ':' || role || ':' || coalesce(custom_role_id::text, '') || ':' || "
            + _until("role_expires_at"),
        ),
    ),
    _Kind(
        "project roles",
        _rows(
            _PROJECT_MEMBERSHIP,
            "true",
            key="id::text || ':' || coalesce(role, '') || ':' || coalesce(custom_role_id::text, '') || ':' || "
            + _until("expires_at"),
        ),
    ),
    _Kind("custom roles", _rows(_ROLE, "true", key=_digest_of(_sorted("permissions")))),
    _Kind(
        "rights of programs",
        _rows(
            _ACCOUNT,
            "revoked_at is null",
            key=_digest_of(_sorted("permissions"), _sorted("project_ids"), _sorted("networks"), _until("expires_at")),
        ),
    ),
    _Kind(
        "guards of projects",
        _rows(_PROJECT, "true", key=_digest_of("locations_are_sensitive::text", _sorted("fields_off"))),
    ),
)
# What is written down for others to look at: nothing of it is a way in.
_NOTED: Final = (
    _Kind(
        HAVING_FACTORS,
        f'select distinct user_id::text as key, null::timestamptz as since from "{_AUTHENTICATOR}"'
        f" where organization_id = $1 and confirmed_at is not null and kind <> '{AuthenticatorKind.RECOVERY_CODE}'",
    ),
    _Kind(
        HOLDS,
        _rows(
            entity_of(LegalHold).name,
            "lifted_at is null",
            key="concat_ws(':', id::text, subject_kind, subject::text, placed_by_id::text)",
        ),
    ),
    _Kind(
        ERASURES,
        _rows(
            entity_of(ErasureRequest).name,
            f"status in ('{ErasureStatus.REQUESTED}', '{ErasureStatus.CONFIRMED}', '{ErasureStatus.EXECUTING}')",
            key="concat_ws(' ', id::text, kind, 'due', to_char(due_at at time zone 'UTC', 'YYYY-MM-DD'),"
            " 'user ' || user_id::text)",
        ),
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
            for kind in (*_KINDS, *_NOTED):
                rows = await connection.fetch(kind.standing, organization_id)
                standing[organization_id][kind.name] = sorted(row["key"] for row in rows)
    return WaysIn(at, sizes, standing)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was found in an organization. closed: how many of each kind were taken away again, or are as strict again.
    other: how many roles and rights are other than they stood last, which is left to people."""

    closed: Mapping[str, int]
    other: Mapping[str, int]


async def close_withdrawn(change: Change, noted: WaysIn) -> Withdrawn:
    """Take away again, in an organization, what the note does not know any more, and bring back what was stricter.

    What is newer than the note is left as it is: nobody knows of it otherwise.
    """
    # An organization that is newer than the note is none that it knows anything of.
    stood = noted.standing.get(change.organization_id, {})
    closed: dict[str, int] = {}
    other: dict[str, int] = {}
    for kind in _KINDS:
        if kind.name not in stood:
            continue
        known = set(stood[kind.name])
        rows = await fetch(change.connection, kind.standing, change.organization_id)
        gone = [row["key"] for row in rows if row["key"] not in known and row["since"] <= noted.at]
        lost = sorted(known.difference(row["key"] for row in rows))
        if kind.tightening is not None:
            closed[kind.name] = len(lost) * await _carry_out(change, kind.tightening, lost)
        elif kind.closing is not None:
            closed[kind.name] = await _carry_out(change, kind.closing, gone)
        else:
            other[kind.name] = len(gone)
    return Withdrawn(closed, other)


async def stop_periods(change: Change) -> Mapping[str, int]:
    """Have nothing of an organization deleted by a period until somebody decides it anew; return how many were set."""
    stopped: dict[str, int] = {}
    for kind in _KINDS:
        if kind.name in PERIODS and kind.closing is not None:
            rows = await fetch(change.connection, kind.standing, change.organization_id)
            stopped[kind.name] = await _carry_out(change, kind.closing, [row["key"] for row in rows])
    return stopped


async def _carry_out(change: Change, text: str, keys: Sequence[str]) -> int:
    if not keys:
        return 0
    return len(await fetch(change.connection, text, change.organization_id, keys, change.at))
