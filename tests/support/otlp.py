"""A collector on this machine: it takes traces by OTLP over HTTP, and takes them apart."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WITHIN_S = 15.0


@dataclass(frozen=True)
class Span:
    """A span as it came."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    said: Mapping[str, Any]
    failed: bool
    events: int


@dataclass
class Collector:
    """What came: the bytes as they were sent, the spans in them, and what is said of who sent them."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    def until(self, enough: Callable[[list[Span]], object]) -> list[Span]:
        """Return the spans, once there are those that are waited for; fails where that takes too long."""
        end = time.monotonic() + WITHIN_S
        while not enough(self.spans):
            assert time.monotonic() < end, [one.name for one in self.spans]
            time.sleep(0.05)
        return list(self.spans)

    def of_trace(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace."""
        return [one for one in self.spans if one.trace_id == trace_id]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            found.paths.add(self.path)
            found.bodies.append(body)
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            for resource in request.resource_spans:
                found.resources.append(_said(resource.resource.attributes))
                for scope in resource.scope_spans:
                    found.spans += [_span(one) for one in scope.spans]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(one: Any) -> Span:
    return Span(
        name=one.name,
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_id=one.parent_span_id.hex(),
        kind=one.kind,
        said=_said(one.attributes),
        failed=one.status.code == 2,
        events=len(one.events) + len(one.links),
    )


def _said(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
