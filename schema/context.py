"""What travels with one operation: who asks, one snapshot of the data, the decisions made, the values opened."""

import asyncio
from collections.abc import Awaitable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from graphql import GraphQLResolveInfo
from strawberry import Info
from strawberry.dataloader import DataLoader

from auth.errors import ForbiddenError, UnauthenticatedError
from auth.permission import Permission
from auth.policy import can
from auth.principal import Viewer
from auth.scope import Scope
from models.encryption.envelope import key_id_of
from models.inventory import Entity
from models.listing import fetch_by_id
from models.row import Row
from resolvers.change import Change
from resolvers.read import Reader, ReadLog
from resolvers.services import Services
from resolvers.trail import Actor, Operation

LONGEST_NAME: Final = 200
"""Characters of an operation's name that the trail keeps."""


class Loader(DataLoader[Any, Any]):
    """Loads together what is asked for together, for every place in the operation that asks."""

    def load(self, key: Any) -> Awaitable[Any]:
        """Return an awaitable of the key's value, the asker's own.

        Where a field fails that can't be null, graphql-core cancels what its neighbours wait for. Other places may
        wait for the same value, and a cancellation that reached them would end the whole request without an answer.
        """
        return asyncio.shield(super().load(key))


class RequestContext:
    """One per operation. `reader` sees the viewer's tenant; without a viewer there is nothing to read.

    change: the transaction that the mutation being resolved runs in.
    decisions: what the policy said, by permission and scope. Asked once per scope, however many rows there are.
    """

    def __init__(
        self, services: Services, actor: Actor, reader: Reader, *, refusal: UnauthenticatedError | None = None
    ) -> None:
        self.services = services
        self.actor = actor
        self.reader = reader
        self.refusal = refusal
        self.change: Change | None = None
        self.read_log = ReadLog()
        self.decisions: dict[tuple[Permission, Scope], bool] = {}
        self.columns: dict[tuple[int, ...], tuple[str, ...]] = {}
        self._denied: set[tuple[str, str]] = set()
        self._loaders: dict[Hashable, DataLoader[Any, Any]] = {}
        self._keys = Loader(load_fn=self._load_keys)

    @property
    def viewer(self) -> Viewer:
        """Who asks. Raises `UnauthenticatedError` if nobody is signed in, with the reason if a token was refused."""
        if self.actor.viewer is None:
            raise self.refusal or UnauthenticatedError("Sign in first.")
        return self.actor.viewer

    def name_operation(self, name: str | None, digest: str) -> None:
        """Say which operation this is, for the trail."""
        # What is no name in GraphQL's grammar names no operation, and is not kept.
        short = name if name and len(name) <= LONGEST_NAME and name.isascii() and name.isidentifier() else None
        self.actor = replace(self.actor, operation=Operation(short, digest))

    def require_signed_in(self) -> None:
        """Raise `UnauthenticatedError` if nobody is signed in."""
        _ = self.viewer

    def allows(self, permission: Permission, scope: Scope) -> bool:
        """Return whether the viewer has the permission in the scope."""
        verdict = self.decisions.get((permission, scope))
        if verdict is None:
            verdict = self.decisions[permission, scope] = can(self.viewer, permission, scope)
        return verdict

    def deny(self, info: "ResolveInfo", permission: Permission) -> None:
        """Raise `ForbiddenError` the first time that this field is denied in the operation; later return None."""
        key = (info.parent_type.name, info.field_name)
        if key not in self._denied:
            self._denied.add(key)
            raise ForbiddenError(f"This needs the permission {permission}.", permission=permission)

    async def load_key(self, blob: bytes) -> None:
        """Bring the key of an encrypted value into memory: one statement for all that are asked for together."""
        await self._keys.load(key_id_of(blob))

    async def load_row(self, entity: Entity, columns: tuple[str, ...], row_id: UUID) -> Row | None:
        """Return the row if the viewer sees it: one statement for all that are asked for together."""
        loader = self.loader((entity.name, columns), lambda ids: self._load_rows(entity, columns, ids))
        row: Row | None = await loader.load(row_id)
        return row

    def loader(self, key: Hashable, load: Any) -> DataLoader[Any, Any]:
        """Return the operation's loader of that key, made with `load` if it is new."""
        found = self._loaders.get(key)
        if found is None:
            found = self._loaders[key] = Loader(load_fn=load)
        return found

    async def renew(self) -> None:
        """Forget what was read, so that what follows sees what was committed."""
        await self.reader.close()
        self._loaders.clear()

    async def _load_rows(self, entity: Entity, columns: tuple[str, ...], ids: Sequence[UUID]) -> list[Row | None]:
        async with self.reader.use() as connection:
            rows = await fetch_by_id(connection, self.viewer, entity, columns, ids)
        return [rows.get(row_id) for row_id in ids]

    async def _load_keys(self, key_ids: list[UUID]) -> list[None]:
        await self.services.keyring.load_ids(key_ids)
        return [None] * len(key_ids)


ResolveInfo = GraphQLResolveInfo[RequestContext]
"""What graphql-core hands to a resolve function, with our context in it."""


def context_of(info: Info) -> RequestContext:
    """Return the operation's context."""
    context: RequestContext = info._raw_info.context
    return context
