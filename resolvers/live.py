"""Who waits for changes in this process, and is woken by them; and whether they still stand, at each event.

Being woken says that something may have happened, and nothing else. What did, and who is told, is read from the
database in one snapshot, the state of the session with the changes: so nobody is told of a transaction that was
committed after the one that took their rights.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

from auth.action import Action
from auth.errors import ForeignNetworkError, UnauthenticatedError
from auth.network import is_within
from auth.opaque_token import CookieToken
from auth.principal import Origin, Viewer
from models.base import new_id
from models.inventory import entity_of
from models.service_account import ServiceAccount
from models.session import Session
from models.transaction import Tenant
from resolvers.change import Intent, record_attempt
from resolvers.read import Reader
from resolvers.services import Services
from resolvers.session_cookie import holds_secret
from resolvers.standing import ENDED, State, standing_question
from resolvers.trail import Actor


class CutError(Exception):
    """Nothing is heard any more of what happens."""


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody who waits for changes in an organization.

    woken: set where something may have happened. is_cut: whether nothing is heard any more.
    """

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_cut: bool = False
    _looking: asyncio.Timeout | None = None

    @asynccontextmanager
    async def hearing(self) -> AsyncIterator[None]:
        """Let the block run as long as something is heard: a database that is silent may not answer it either.

        Raises:
            CutError: nothing is heard, or not any more.
        """
        if self.is_cut:
            raise CutError
        try:
            async with asyncio.timeout(None) as self._looking:
                yield
        except TimeoutError:
            if not self.is_cut:
                raise
            raise CutError from None
        finally:
            self._looking = None

    def cut(self) -> None:
        """Hear nothing any more, and end what is being looked at."""
        self.is_cut = True
        self.woken.set()
        if self._looking is not None:
            self._looking.reschedule(asyncio.get_running_loop().time())


class Listeners:
    """Those of one process. Nothing is heard until `resume`, and after `cut`."""

    def __init__(self) -> None:
        self._by_organization: dict[UUID, set[Listener]] = {}
        self.is_hearing = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not self._by_organization

    @contextmanager
    def listening(self, organization_id: UUID) -> Iterator[Listener]:
        """Yield a listener, for as long as the block lasts."""
        listener = Listener(is_cut=not self.is_hearing)
        self._by_organization.setdefault(organization_id, set()).add(listener)
        try:
            yield listener
        finally:
            left = self._by_organization[organization_id]
            left.discard(listener)
            if not left:
                del self._by_organization[organization_id]

    def wake(self, organization_id: UUID) -> None:
        """Wake who waits for changes in an organization."""
        for listener in self._by_organization.get(organization_id, ()):
            listener.woken.set()

    def resume(self) -> None:
        """Begin to hear, or go on."""
        self.is_hearing = True

    def cut(self) -> None:
        """Tell everybody that nothing is heard any more: they are to end, and their clients to come again."""
        self.is_hearing = False
        for listeners in self._by_organization.values():
            for listener in listeners:
                listener.cut()


async def standing_actor(
    services: Services, actor: Actor, viewer: Viewer, reader: Reader, *, cookie: CookieToken | None = None
) -> Actor:
    """Return who an event is for, with the roles of the moment that the reader reads at, in a request of its own.

    viewer: who it was when they came. cookie: by which they came; None where it was by a token.

    Raises:
        UnauthenticatedError: the session or the token, or what it hangs on, is not good any more; or the session has
            another cookie by now. Leaves an entry in the trail.
        UnavailableError: the database is away.
    """
    actor = replace(actor, origin=replace(actor.origin, request_id=new_id()))
    question = standing_question(viewer)
    if question is None:
        raise LookupError("A viewer came by a session or a token.")
    async with reader.use() as connection:
        rows = await connection.fetch(question.text, *question.arguments)
    state: State | None = dict(rows[0]) if rows else None
    try:
        now = question.answer(state, services.clock())
        _require_near(state, actor.origin)
        # Whoever proved anew who they are has another cookie, and shuts out who took the one before.
        if cookie is not None and (state is None or not holds_secret(state, cookie)):
            raise UnauthenticatedError(ENDED)
    except UnauthenticatedError as error:
        await reader.end()
        await record_attempt(_refused(actor, viewer), error)
        raise
    return replace(actor, viewer=now)


def reader_of(viewer: Viewer) -> Reader:
    """Return what an event is read by."""
    return Reader(Tenant(organization_id=viewer.organization_id))


def _require_near(state: State | None, origin: Origin) -> None:
    networks = state.get("networks") if state is not None else None
    if networks is not None and not is_within(origin.ip_address, networks):
        raise ForeignNetworkError("The service account is not for this address.")


def _refused(actor: Actor, viewer: Viewer) -> Intent:
    """Return what a refusal says was tried: nobody is signed in any more, and it is known who was."""
    who = replace(
        actor,
        viewer=None,
        user_id=viewer.user_id,
        membership_id=viewer.membership_id,
        device_id=viewer.device_id,
    )
    if viewer.service_account_id is not None:
        subjects = [viewer.service_account_id]
        entity = entity_of(ServiceAccount).name
        return Intent(Action.SERVICE_ACCOUNT_AUTHENTICATE, who, entity=entity, subjects=subjects)
    subjects = [viewer.session_id] if viewer.session_id is not None else []
    return Intent(Action.SESSION_AUTHENTICATE, who, entity=entity_of(Session).name, subjects=subjects)
