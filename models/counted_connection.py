"""Connections that count what is sent over them, and those that trace it, too."""

import re
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, ClassVar, Final

import asyncpg
from opentelemetry.trace import SpanKind, get_current_span

from models.inventory import entities
from models.tracing import Tracing, Value

_WORDS: Final = frozenset({"select", "insert", "update", "delete", "with", "begin", "commit", "rollback", "listen"})
_OTHER: Final = "other"
_TARGET: Final = re.compile(r'\b(?:from|into|update)\s+(?:public\.)?"?([a-z_]+)', re.IGNORECASE)
_OURS: Final = "fieldward_"
"""What the names of our functions in the database begin with."""
_LOOKED_AT: Final = 2000
"""Characters of a statement in which it is looked for the table that it is about."""


class CountedConnection(asyncpg.Connection):
    """A connection of the service. sent: the statements of all of them, in this process."""

    sent: ClassVar[int] = 0

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg does it, and counted: so each of these."""
        CountedConnection.sent += 1
        return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """Counted as one, whatever it is done with."""
        CountedConnection.sent += 1
        return super().executemany(*args, **kwargs)

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        """All rows."""
        CountedConnection.sent += 1
        return super().fetch(*args, **kwargs)

    def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        """The first row."""
        CountedConnection.sent += 1
        return super().fetchrow(*args, **kwargs)

    def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        """A value of the first row."""
        CountedConnection.sent += 1
        return super().fetchval(*args, **kwargs)


def traced_connection(tracing: Tracing) -> type[CountedConnection]:
    """Return the class of connections that make a span of each statement, inside of a span that is recorded."""

    async def traced(text: str, sending: Awaitable[Any]) -> Any:
        if not get_current_span().is_recording():
            return await sending
        said = said_of(text)
        name = " ".join(str(said[key]) for key in ("db.operation.name", "db.collection.name") if key in said)
        with tracing.span(name, said, kind=SpanKind.CLIENT):
            return await sending

    class TracedConnection(CountedConnection):
        def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
            return traced(query, super().execute(query, *args, **kwargs))

        def executemany(self, command: str, *args: Any, **kwargs: Any) -> Any:
            return traced(command, super().executemany(command, *args, **kwargs))

        def fetch(self, query: str, *args: Any, **kwargs: Any) -> Any:
            return traced(query, super().fetch(query, *args, **kwargs))

        def fetchrow(self, query: str, *args: Any, **kwargs: Any) -> Any:
            return traced(query, super().fetchrow(query, *args, **kwargs))

        def fetchval(self, query: str, *args: Any, **kwargs: Any) -> Any:
            return traced(query, super().fetchval(query, *args, **kwargs))

    return TracedConnection


@lru_cache(maxsize=512)
def said_of(text: str) -> dict[str, Value]:
    """Return what a span says of a statement: its first word, and the first table or function that it names.

    Only words of SQL and names of ours are said, whatever else stands in the text.
    """
    word = text.lstrip(" \n(").split(None, 1)[0].rstrip(";").lower() if text.strip() else _OTHER
    said: dict[str, Value] = {
        "db.system.name": "postgresql",
        "db.operation.name": word if word in _WORDS else _OTHER,
    }
    for name in _TARGET.findall(text[:_LOOKED_AT]):
        if name in _tables() or name.startswith(_OURS):
            said["db.collection.name"] = name
            break
    return said


@lru_cache(maxsize=1)
def _tables() -> frozenset[str]:
    return frozenset(entity.name for entity in entities())
