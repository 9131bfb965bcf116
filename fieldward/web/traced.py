"""Requests that are traced: a span around each, in the trace that it is said to be part of.

Standards: W3C Trace Context, by which a request says so; its Level 2, by whose `traceresponse` the answer says which
span it was. Where traces are off, none of this is on a request's way.
"""

from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldward.web.request import REQUEST_ID, route_of
from fieldward.web.trace_context import TRACEPARENT, parent_of
from models.tracing import Tracing, fail, say

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER: Final = "_OTHER"
"""What a method counts as that is none of HTTP's."""
_HEADER: Final = TRACEPARENT.encode()
TRACERESPONSE: Final = "traceresponse"


class TracedRequests:
    """The application, with a span around each request of HTTP. inner: the frame of a request."""

    def __init__(self, tracing: Tracing, inner: ASGIApp) -> None:
        self._tracing = tracing
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request inside a span."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        said = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracing.span(method, said, kind=SpanKind.SERVER, within=_remote(scope)) as span:
            shown = _shown(span)
            # The trail says in which trace a request was, as the request itself says it: in this one.
            scope["headers"] = [*((name, value) for name, value in scope["headers"] if name != _HEADER)]
            scope["headers"].append((_HEADER, shown.encode()))

            async def noting_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message)[TRACERESPONSE] = shown
                    _note_status(span, message["status"])
                await send(message)

            try:
                await self._inner(scope, receive, noting_send)
            finally:
                route = route_of(scope)
                span.update_name(f"{method} {route}")
                say(span, {"http.route": route, "fieldward.request.id": str(scope.get(REQUEST_ID, ""))})


def _note_status(span: Span, status: int) -> None:
    say(span, {"http.response.status_code": status})
    if status >= 500:
        fail(span, str(status))


def _remote(scope: Scope) -> Context:
    """Return the trace that a request says it is part of; one of its own where it does not, or not well."""
    headers = [value for name, value in scope["headers"] if name == _HEADER]
    parent = parent_of(headers[0].decode("latin-1")) if len(headers) == 1 else None
    if parent is None:
        return set_span_in_context(INVALID_SPAN, Context())
    context = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(parent.flags))
    return set_span_in_context(NonRecordingSpan(context), Context())


def _shown(span: Span) -> str:
    context = span.get_span_context()
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"
