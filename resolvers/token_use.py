"""When programs used their tokens last, and from where: noted in memory, and written down together a little later.

No request waits for it. What a process noted since it last wrote is lost when it is killed: some seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from models.transaction import Tenant, raw_write_transaction

WRITE_TOKEN_USES: Final = "write_token_uses"  # noqa: S105  (a job's name)
"""The name of the job that writes them down."""
EVERY_S: Final = 5.0
"""Seconds between two times that they are."""

# A row whose organization or token is gone by now has nothing to be noted of.
_WRITE: Final = """
    insert into service_account_use (organization_id, id, used_at, used_from, created_at)
    select $1, t.id, u.used_at, u.used_from, u.used_at
    from unnest($2::uuid[], $3::timestamptz[], $4::text[]) as u(id, used_at, used_from)
    join service_account_token t on t.organization_id = $1 and t.id = u.id
    order by t.id
    on conflict (organization_id, id) do update set used_at = excluded.used_at, used_from = excluded.used_from
    where service_account_use.used_at < excluded.used_at
"""


@dataclass(frozen=True, slots=True)
class _Use:
    at: datetime
    address: str | None


class TokenUses:
    """The newest use of each token that is not written down yet."""

    def __init__(self) -> None:
        self._noted: dict[UUID, dict[UUID, _Use]] = {}

    def note(self, organization_id: UUID, token_id: UUID, at: datetime, address: str | None) -> None:
        """Note that a token was used just now."""
        self._noted.setdefault(organization_id, {})[token_id] = _Use(at, address)

    async def write(self) -> bool:
        """Write down what was noted; never that there is more to do. What can't be written is kept for the next time.

        Raises:
            UnavailableError: the database is away.
        """
        noted, self._noted = self._noted, {}
        while noted:
            organization_id, uses = noted.popitem()
            try:
                await _write(organization_id, uses)
            except BaseException:
                for tenant_id, older in (*noted.items(), (organization_id, uses)):
                    self._noted[tenant_id] = {**older, **self._noted.get(tenant_id, {})}
                raise
        return False


async def _write(organization_id: UUID, uses: Mapping[UUID, _Use]) -> None:
    async with raw_write_transaction(Tenant(organization_id=organization_id)) as connection:
        await connection.execute(
            _WRITE,
            organization_id,
            list(uses),
            [one.at for one in uses.values()],
            [one.address for one in uses.values()],
        )
