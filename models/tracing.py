"""Traces: what a span may say, and the one way to begin one.

A span is named by what the code calls things: an address as it is declared, a kind of operation, a field of the schema,
a table. It says numbers, codes and ids of our own. Nothing that a client sent and nothing that is stored is in it, no
text of an operation or a statement, no argument, no variable, no message of an exception: what says anything else than
`ATTRIBUTES` does not run.

Standard: OpenTelemetry, by its semantic conventions where they have a name for it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

Value = str | int | bool

ATTRIBUTES: Final[Mapping[str, str]] = {
    "http.request.method": "one of HTTP's methods, or _OTHER",
    "http.route": "the address as it is declared",
    "http.response.status_code": "a number",
    "url.scheme": "http or https",
    "fieldward.request.id": "an id that was made here",
    "fieldward.operation.kind": "query, mutation, subscription or none",
    "fieldward.operation.cost": "a number",
    "fieldward.operation.statements": "a number",
    "fieldward.operation.errors": "a number",
    "fieldward.field": "a root of the schema",
    "fieldward.code": "one of the codes of errors",
    "db.system.name": "postgresql",
    "db.operation.name": "a word of SQL",
    "db.collection.name": "a table or function of our own",
    "error.type": "the name of a class",
}
"""What a span may say, and what stands there."""


class Tracing:
    """Begins spans, for whoever was given it. Where nobody was, nothing is traced."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(
        self,
        name: str,
        said: Mapping[str, Value],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        within: Context | None = None,
    ) -> Iterator[Span]:
        """Yield a span around what the block does. What goes wrong in it is told by its class alone.

        name: made of names of our own, as what is said is. within: the trace that it is part of, where another process
            began that; else it is the running span's.

        Raises:
            LookupError: something is said that no span says.
        """
        require_known(said)
        with self._tracer.start_as_current_span(
            name,
            within,
            kind,
            dict(said),
            # Both would quote the exception.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                fail(span, type(error).__name__)
                raise


def say(span: Span, said: Mapping[str, Value]) -> None:
    """Add to what a span says. Raises `LookupError` as `Tracing.span` does."""
    require_known(said)
    span.set_attributes(said)


def fail(span: Span, kind: str) -> None:
    """Note that what the span is of failed. kind: the class of what it failed by, or a status."""
    say(span, {"error.type": kind})
    span.set_status(StatusCode.ERROR)


def require_known(said: Mapping[str, Value]) -> None:
    """Raise `LookupError` where something is said that is not declared above."""
    unknown = said.keys() - ATTRIBUTES.keys()
    if unknown:
        raise LookupError(f"A span does not say {min(unknown)}: models/tracing.py declares what it may.")
