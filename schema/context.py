"""What travels with one operation: who asks, one snapshot of the data, the decisions made, the values opened."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from graphql import FieldNode, GraphQLResolveInfo
from graphql.pyutils import Path
from strawberry import Info
from strawberry.dataloader import DataLoader

from auth.errors import UnauthenticatedError
from auth.permission import Permission
from auth.policy import can, has_everywhere
from auth.principal import Viewer
from auth.scope import Scope
from models.along import Selected
from models.encryption.envelope import key_id_of
from models.encryption.keyring import load_each
from models.inventory import Entity, entity_of
from models.listing import Listing, fetch_by_id, fetch_listing
from models.row import Row
from resolvers.allowance import Allowance
from resolvers.change import Change
from resolvers.feed import Following
from resolvers.idempotency import Once
from resolvers.read import Reader
from resolvers.read_log import ReadLog
from resolvers.services import Services
from resolvers.throttle import network_of
from resolvers.trail import Actor, Operation
from schema.cookie import Header
from schema.denial import Denial, Denials
from schema.field import RowsField
from schema.loading import Gathered

if TYPE_CHECKING:
    from schema.limits import Measure

MOST_TRACED: Final = 1000
LONGEST_NAME: Final = 200
"""Characters of an operation's name that the trail keeps."""


def _is_out_of_sight(entity: Entity, viewer: Viewer, row_id: UUID) -> bool:
    """Return whether the id alone says that the viewer does not see the row.

    It does where rows lie in no project and are each about one person: who does not see them all sees their own.
    """
    placement = entity.placement
    if placement is None or placement.project_column is not None or placement.own_column != "id":
        return False
    own_id = viewer.user_id if placement.own_is_user else viewer.membership_id
    return row_id != own_id and not has_everywhere(viewer, {entity.read})


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
    columns, completions: which columns a place in the operation needs, and how its rows are completed; shared by all
        runs of the operation with the same fields.
    is_alone: whether nothing else of the operation may ask for rows at this moment: nothing is gathered then.
    headers: what the answer's head says beside what every answer's does: cookies that are set or cleared.
    following: of a subscription's event, where the subscription is; None outside of one.
    is_own_page: whether the request shows that a page of this server sent it.
    by_cookie: whether the viewer came by a cookie.
    changes: whether the operation is a mutation.
    measure: what the operation asks for, once that is known (`schema/limits.py`).
    idempotency_key: the key that the client gave to its request (`resolvers/idempotency.py`); None for none.
    once: the operation under that key, where it is one that changes something.
    denials: which fields were denied, and where.
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
        self.following: Following | None = None
        self.read_log = ReadLog()
        self.decisions: dict[tuple[Permission, Scope], bool] = {}
        self.columns: dict[Any, Selected] = {}
        self.completions: dict[Any, Any] = {}
        self.is_alone = False
        self.headers: list[Header] = []
        self.is_own_page = False
        self.by_cookie = False
        self.changes = False
        self.measure: Measure | None = None
        self.idempotency_key: str | None = None
        self.once: Once | None = None
        self.denials = Denials()
        self._moment: datetime | None = None
        self._gathered: dict[Hashable, Gathered[Any]] = {}
        self._loaders: dict[Hashable, DataLoader[Any, Any]] = {}
        self._keys: Loader | None = None

    @property
    def viewer(self) -> Viewer:
        """Who asks. Raises `UnauthenticatedError` if nobody is signed in, with the reason if a token was refused."""
        if self.actor.viewer is None:
            raise self.refusal or UnauthenticatedError("Sign in first.")
        return self.actor.viewer

    @property
    def allowance(self) -> Allowance:
        """How much whoever asks may still ask for: their own, or that of all from their network who are nobody yet."""
        who, allowances = self.actor.who, self.services.allowances
        if who is not None:
            return allowances.of_principal(who.principal_id)
        return allowances.of_network(network_of(self.actor.origin.ip_address))

    @property
    def moment(self) -> datetime:
        """The time that the operation reads at: one for all of it, so that places that ask the same ask together."""
        if self._moment is None:
            self._moment = self.services.clock()
        return self._moment

    def follow(self, columns: dict[Any, Selected], completions: dict[Any, Any]) -> None:
        """Use what was worked out about the operation before, and add to it."""
        self.columns, self.completions = columns, completions

    def name_operation(self, name: str | None, find_digest: Callable[[], str]) -> None:
        """Say which operation this is, for the trail. find_digest: asked for each entry that is written."""
        # What is no name in GraphQL's grammar names no operation, and is not kept.
        short = name if name and len(name) <= LONGEST_NAME and name.isascii() and name.isidentifier() else None
        self.actor = replace(self.actor, operation=Operation(short, find_digest))

    def require_signed_in(self) -> None:
        """Raise `UnauthenticatedError` if nobody is signed in."""
        _ = self.viewer

    def allows(self, permission: Permission, scope: Scope) -> bool:
        """Return whether the viewer has the permission in the scope."""
        verdict = self.decisions.get((permission, scope))
        if verdict is None:
            verdict = self.decisions[permission, scope] = can(self.viewer, permission, scope)
        return verdict

    def deny(self, info: "ResolveInfo", permission: Permission, scope: Scope) -> None:
        """Note that a field was denied. Its value is null; the answer names each field once."""
        self.note_denial(
            info.parent_type.name, info.field_name, permission, scope, path=info.path, nodes=info.field_nodes
        )

    def note_denial(
        self,
        type_name: str,
        field_name: str,
        permission: Permission,
        scope: Scope,
        *,
        path: Path,
        nodes: Sequence[FieldNode],
    ) -> None:
        """Note that a field of a type was denied at a place of the answer."""
        self.denials.note(Denial(type_name, field_name, permission, scope, path.as_list(), nodes))

    async def load_key(self, blob: bytes) -> None:
        """Bring the key of an encrypted value into memory: one statement for all that are asked for together.

        Raises:
            TamperedError, WrappingKeyError: the keystore has it in a form that does not unwrap.
            UnavailableError: the keystore or the key provider is away.
        """
        if self._keys is None:
            self._keys = Loader(load_fn=self._load_keys)
        await self._keys.load(key_id_of(blob))

    async def load_row(self, entity: Entity, selected: Selected, row_id: UUID) -> Row | None:
        """Return the row if the viewer sees it: one statement for all that are asked for together."""
        return (await self.load_rows(entity, selected, [row_id])).get(row_id)

    async def load_rows(self, entity: Entity, selected: Selected, ids: Collection[UUID]) -> Mapping[UUID, Row]:
        """Return those of the rows that the viewer sees, others among them that were asked for before.

        Nobody is looked up whom the viewer can't see: how many statements it takes would tell whether two links, of
        which neither is shown, lead to the same person.
        """
        wanted_ids = [one for one in ids if not _is_out_of_sight(entity, self.viewer, one)]
        if not wanted_ids:
            return {}

        async def fetch(wanted: list[UUID]) -> Mapping[UUID, Row]:
            async with self.reader.use() as connection:
                return await fetch_by_id(
                    connection, self.viewer, entity, selected.columns, wanted, along=selected.along
                )

        if self.is_alone:
            return await fetch(wanted_ids)
        return await self._gather((entity.name, selected), fetch).load(wanted_ids)

    async def load_children(
        self, said: RowsField, selected: Selected, nodes: Sequence[FieldNode], parents: Collection[UUID]
    ) -> Mapping[UUID, list[Row]]:
        """Return the visible rows of each parent that has any: one statement for all that are asked for together."""
        how = said.listed
        if how is None:
            raise LookupError("The field does not say how its rows are listed.")
        order, by, limit = how.order, how.by, how.limit

        async def fetch(wanted: list[UUID]) -> Mapping[UUID, list[Row]]:
            listing = Listing(
                entity=entity_of(said.of),
                columns=selected.columns,
                along=selected.along,
                order=order,
                limit=limit,
                parent_column=by,
                parents=wanted,
            )
            async with self.reader.use() as connection:
                rows = await fetch_listing(connection, self.viewer, listing)
            found: dict[UUID, list[Row]] = {}
            for row in rows:
                found.setdefault(row["parent"], []).append(row)
            return found

        return await self._gather((tuple(map(id, nodes)), selected), fetch).load(parents)

    def loader(self, key: Hashable, load: Any) -> DataLoader[Any, Any]:
        """Return the operation's loader of that key, made with `load` if it is new."""
        found = self._loaders.get(key)
        if found is None:
            found = self._loaders[key] = Loader(load_fn=load)
        return found

    def trace(self) -> dict[str, Any]:
        """Return how many statements read for the operation so far, and each decision that was made."""
        decided = sorted(
            (str(permission), str(scope), scope.is_own, allowed)
            for (permission, scope), allowed in self.decisions.items()
        )
        return {
            "statements": self.reader.statements,
            "decisions": len(decided),
            "decided": [
                {"permission": permission, "scope": scope, "own": own, "allowed": allowed}
                for permission, scope, own, allowed in decided[:MOST_TRACED]
            ],
        }

    async def renew(self) -> None:
        """Forget what was read, so that what follows sees what was committed."""
        await self.reader.close()
        self.let_go()

    def let_go(self) -> None:
        """Forget what was read. It refers back to here: where it stays, it waits for the collector of cycles."""
        self._moment = None
        self._loaders.clear()
        self._gathered.clear()
        self._keys = None

    def _gather(self, key: Hashable, fetch: Any) -> Gathered[Any]:
        found = self._gathered.get(key)
        if found is None:
            found = self._gathered[key] = Gathered(fetch)
        return found

    async def _load_keys(self, key_ids: list[UUID]) -> list[Exception | None]:
        failures = await load_each(self.services.keyring.load_ids, key_ids)
        return [failures.get(key_id) for key_id in key_ids]


ResolveInfo = GraphQLResolveInfo[RequestContext]
"""What graphql-core hands to a resolve function, with our context in it."""


def context_of(info: Info) -> RequestContext:
    """Return the operation's context."""
    context: RequestContext = info._raw_info.context
    return context
