"""The guard decisions of operations, whoever asks: by the trace that each operation's context keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from schema.context import RequestContext


class DecisionCount:
    """The operations that ran since it was last read."""

    def __init__(self) -> None:
        self._contexts: list[RequestContext] = []

    def note(self, context: RequestContext) -> None:
        """Remember an operation."""
        self._contexts.append(context)

    def read(self) -> int:
        """Return how many decisions were made since then: one for each permission and scope of an operation."""
        contexts, self._contexts = self._contexts, []
        return sum(context.trace()["decisions"] for context in contexts)


@contextmanager
def counting_decisions() -> Iterator[DecisionCount]:
    """Yield the count of the decisions in every operation that begins while the block runs."""
    count, begin = DecisionCount(), RequestContext.__init__

    def begin_and_note(context: RequestContext, *arguments: Any, **named: Any) -> None:
        begin(context, *arguments, **named)
        count.note(context)

    with patch.object(RequestContext, "__init__", begin_and_note):
        yield count
