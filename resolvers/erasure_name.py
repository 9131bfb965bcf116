"""Taking away by what a name could still be tried: blind indexes, and digests of what rows were made from.

A batch at a time, so that each ends in time however many rows name somebody. What lies under a key is found by an index
of the table on the sealed value itself, which begins with the key's id: the log of destroyed keys knows keys alone, and
the keystore forgets whose a destroyed one was. It is found as a range, since functions of a value are not looked up in
an index where rows are walled off by their organization.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from models.encryption.destruction import Destruction
from models.encryption.envelope import FORMAT, Algorithm, OwnerKind
from models.encryption.keystore import KeyStore
from models.inventory import entities
from models.invitation import InvitationStatus
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change

MOST_ROWS: Final = 500
"""Rows that one change takes something away from."""

_UNDER: Final = "substring({column} from 3 for 16) = any($4::bytea[])"
"""Whether a value lies under one of the keys. It begins with its format, its algorithm, and the id of its key."""
_FOUND: Final = (
    "select f.id from unnest($2::bytea[], $3::bytea[]) as k(first, past) cross join lateral ("
    ' select t.id from "{table}" t where t.organization_id = $1 and {where}'
    " and t.{column} >= k.first and t.{column} < k.past limit {most}) f limit {most}"
)
_NO_ONE: Final = bytes(8)
"""What the index of an address begins with that belongs to nobody any more; the rest tells rows apart."""
_NOBODY: Final = f"'\\x{_NO_ONE.hex()}'::bytea || substring(uuid_send(id) from 9)"
_IS_SOMEBODY: Final = f"> '\\x{_NO_ONE.hex()}ffffffffffffffff'::bytea"


@dataclass(frozen=True, slots=True)
class Left:
    """Rows of a table from which something is still to be taken away, in SQL whose `$1` is the organization.

    changes: what is set. found: the ids of such rows, `{most}` at the most. but_if: what must still hold of those that
    were found, by when they are locked. arguments: what is found by, from `$2` on; more: what must still hold, behind
    them. is_looked_for: whether it is a sign that the erasure is not done.
    """

    table: str
    changes: str
    found: str
    but_if: str = "true"
    arguments: tuple[Any, ...] = ()
    more: tuple[Any, ...] = ()
    is_looked_for: bool = True

    @property
    def exists(self) -> str:
        """A query that says whether there are such rows."""
        return f"select exists ({self.found.format(most=1)})"

    @property
    def taken(self) -> str:
        """A statement that takes it away from as many rows as its last argument says."""
        most = f"${len(self.arguments) + len(self.more) + 2}"
        return (
            f'update "{self.table}" set {self.changes} where organization_id = $1 and {self.but_if}'
            f" and id = any(array({self.found.format(most=most)})) returning 1"
        )


async def left_in(store: KeyStore, one: Destruction, organization_id: UUID) -> Sequence[Left]:
    """Return what an erasure takes away in one of its organizations.

    Raises:
        UnavailableError: the keystore is away.
    """
    if one.organization_id is not None:
        return _LEFT_OF_ORGANIZATION
    known = {key.id: key.owner for key in await store.by_ids(one.key_ids)}
    # Which keys were of somebody else is known; one that came back from a backup does not know of all.
    others = {
        key_id
        for key_id, owner in known.items()
        if owner.kind is not OwnerKind.SUBJECT or owner.within != organization_id
    }
    keys = sorted(key_id.bytes for key_id in one.key_ids if key_id not in others)
    return _left_under(keys) if keys else ()


async def take_away(change: Change, left: Sequence[Left]) -> Counter[str]:
    """Take it away from the next rows, and return how many of each table: `MOST_ROWS` in all if there may be more."""
    rows: Counter[str] = Counter()
    for one in left:
        most = MOST_ROWS - rows.total()
        rows[one.table] += len(
            await fetch(change.connection, one.taken, change.organization_id, *one.arguments, *one.more, most)
        )
    return +rows


async def is_left(left: Sequence[Left], organization_id: UUID) -> bool:
    """Return whether something is still to be taken away in an organization."""
    for one in left:
        if not one.is_looked_for:
            continue
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            if await connection.fetchval(one.exists, organization_id, *one.arguments):
                return True
    return False


def _left_under(keys: Sequence[bytes]) -> Sequence[Left]:
    """Return what is left of names and addresses that lie under some keys."""
    firsts = [bytes([FORMAT, algorithm]) + key for key in keys for algorithm in Algorithm]
    pasts = [(int.from_bytes(first) + 1).to_bytes(len(first)) for first in firsts]
    return (
        # By the digest of what a record was created from a name could be tried as well.
        Left(
            "record",
            "collector_index = null, creation_digest = null",
            _FOUND.format(table="record", column="collector", where="t.collector_index is not null", most="{most}"),
            _UNDER.format(column="collector"),
            (firsts, pasts),
            (list(keys),),
        ),
        Left(
            "invitation",
            f"email_index = {_NOBODY}, token_digest = null, version = version + 1,"
            f" status = case when status = '{InvitationStatus.PENDING}' then '{InvitationStatus.REVOKED}'"
            " else status end",
            _FOUND.format(table="invitation", column="email", where=f"t.email_index {_IS_SOMEBODY}", most="{most}"),
            _UNDER.format(column="email"),
            (firsts, pasts),
            (list(keys),),
        ),
    )


def _left_of_organization() -> Sequence[Left]:
    """Return what is left of all names that an organization has. What can't be null says nobody's instead.

    Sign-ins end as well, of which there may be as many: nobody gets into an organization that is erased, by any.
    """
    return (
        Left(
            "session",
            "revoked_at = clock_timestamp()",
            _found_in("session", "revoked_at is null"),
            is_looked_for=False,
        ),
        *(
            Left(
                entity.name,
                f'"{index.name}" = {"null" if index.is_nullable else _NOBODY}',
                _found_in(entity.name, f'"{index.name}" {"is not null" if index.is_nullable else _IS_SOMEBODY}'),
            )
            for entity in entities()
            if "organization_id" in entity.columns
            for column in entity.columns.values()
            if column.search is not None
            for index in [entity.columns[column.search.index_column]]
        ),
    )


def _found_in(table: str, where: str) -> str:
    return f'select id from "{table}" where organization_id = $1 and {where} limit {{most}}'


_LEFT_OF_ORGANIZATION: Final = _left_of_organization()
