"""A subscription as it goes on: woken by what may have happened, it looks, and tells what it found.

Each look is an operation of its own, in one snapshot, by who the subscriber is at that moment, and in the time that any
operation has. A look that finds nothing is told to nobody, and costs the subscriber nothing; of any other the cost is
spent of their quota, and where that is not there, the subscription rests until it is.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from strawberry.types import ExecutionResult

from auth.errors import Code
from models.deadline import OverdueError
from models.errors import UnavailableError
from resolvers.allowance import OverspentError
from resolvers.feed import FeedPage, Following
from resolvers.live import Listener
from schema.api import Api
from schema.context import RequestContext
from schema.document import Asked, Documents

PAUSE_S: Final = 0.1
"""Seconds from one look to the next, also where there is more: what was committed in between comes together."""
LONGEST_REST_S: Final = 30.0
"""Seconds after which a subscriber is looked at though nothing happened: sessions and grants end by themselves."""
SOONEST_S: Final = 0.05
"""Seconds after which is looked again for what an older transaction holds back: twice as long each time, up to one."""


class Stream:
    """One subscription.

    has_failed: whether the last look found nothing out.
    documents: what finds the text that is asked for: at first, and again where the organization decided otherwise.
    make_context: finds out who the subscriber is now; what it raises ends the subscription.
    turns: how many look at the same time, in all of the process.
    """

    def __init__(
        self,
        api: Api,
        asked: Asked,
        documents: Documents,
        listener: Listener,
        make_context: Callable[[], Awaitable[RequestContext]],
        turns: asyncio.Semaphore,
    ) -> None:
        self._api = api
        self._asked = asked
        self._documents = documents
        self._text = ""
        self._trusting: tuple[bool, int] | None = None
        self._listener = listener
        self._make_context = make_context
        self._turns = turns
        self._following = Following()
        self._has_ended = False
        self.has_failed = False

    def end(self) -> None:
        """Look no more. What is being looked at is not told."""
        self._has_ended = True
        self._listener.woken.set()

    async def results(self) -> AsyncGenerator[ExecutionResult, None]:
        """Yield what is found, the first result at once. The last one is that of a look that failed, if one does.

        Raises:
            CutError: nothing is heard any more.
            UnauthenticatedError: the subscriber does not stand any more.
            UnavailableError: the database is away, or whatever else something of a page needs, or reading it took too
                long: nothing of it is told.
        FieldwardError: the document may not be run any more (`schema/document.py: Documents.resolve`).
        """
        is_first, rest_s = True, SOONEST_S
        while not self._has_ended:
            self._listener.woken.clear()
            try:
                result = await self._look()
            except OverspentError as error:
                await self._await_room(error.retry_after_s or 1)
                continue
            if _lacks_something(result):
                # Null would say that it is gone, and whoever went on from this cursor would never be told better.
                raise UnavailableError("Not all that changed could be read. Come again.")
            page = self._following.page
            if page is None or result.data is None:
                # What was found and not told would be missed: it is told from the last cursor, to who comes again.
                self.has_failed = True
                yield result
                return
            if is_first or page.changes or page.access_changed:
                yield result
            is_first = False
            await asyncio.sleep(PAUSE_S)
            if not page.has_more:
                rest_s = min(rest_s * 2, 1.0) if page.is_waiting else SOONEST_S
                await self._rest(rest_s if page.is_waiting else LONGEST_REST_S)

    async def _look(self) -> ExecutionResult:
        async with self._listener.hearing(), self._turns:
            context = await self._trusted_context()
            self._following.page = None
            context.following = self._following
            try:
                asked = self._asked
                result = await self._api.execute(
                    self._text,
                    asked.variables,
                    context,
                    operation_name=asked.name,
                    operation_extensions=asked.extensions,
                )
                if context.measure is not None and _found_nothing(self._following.page):
                    context.allowance.give_back(context.measure.requested)
                return result
            except OverdueError as error:
                # Of an event it is not said by itself, as of an operation: whoever comes again is told of it then.
                raise UnavailableError(error.message) from error
            finally:
                await context.reader.end()
                context.let_go()

    async def _trusted_context(self) -> RequestContext:
        """Return the context of a look, by whose viewer the text may be run."""
        context = await self._make_context()
        if self._trusting == _trusting(context):
            return context
        try:
            self._text = await self._documents.resolve(context, self._asked)
            self._trusting = _trusting(context)
        finally:
            # That closed the snapshot in which it was asked whether the viewer stands: the look has one of its own.
            await context.reader.end()
            context.let_go()
        return await self._make_context()

    async def _await_room(self, wait_s: float) -> None:
        """Look at nothing for so long but at whether the subscriber still stands, as often as without waiting."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while not self._has_ended and (left_s := until - loop.time()) > 0:
            await asyncio.sleep(PAUSE_S)
            await self._rest(min(left_s, LONGEST_REST_S))
            self._listener.woken.clear()
            async with self._listener.hearing(), self._turns:
                context = await self._make_context()
                await context.reader.end()
                context.let_go()

    async def _rest(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._listener.woken.wait()
        except TimeoutError:
            return


def _lacks_something(result: ExecutionResult) -> bool:
    """Return whether something was not read that may well be read the next time."""
    return any((error.extensions or {}).get("code") == Code.UNAVAILABLE for error in result.errors or ())


def _found_nothing(page: FeedPage | None) -> bool:
    """Return whether a look was for nothing. One that ended where it had looked at much was for something."""
    return page is not None and not page.changes and not page.has_more


def _trusting(context: RequestContext) -> tuple[bool, int]:
    """Return by what it was decided which documents the viewer may have run."""
    return context.viewer.runs_trusted_only, context.viewer.documents_version
