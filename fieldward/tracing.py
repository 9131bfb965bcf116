"""Where traces go: by OTLP over HTTP to a collector, in the background, and nowhere unless the settings name one.

What OpenTelemetry's own variables say besides (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_… and the
like) its SDK reads by itself. Which traces are recorded is up to `FIELDWARD_TRACE_SHARE` alone: a client that says its
trace is recorded does not make us record more.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fieldward.settings import Settings
from models.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE: Final = "fieldward"
_EXPORT_TIMEOUT_S: Final = 5.0
"""Seconds that the collector may take. What does not get through is lost: traces are no record."""
_MOST_ATTRIBUTES: Final = 32


@dataclass(frozen=True, slots=True)
class Traced:
    """What traces, and what sends it on."""

    tracing: Tracing
    provider: "TracerProvider"

    def end(self) -> None:
        """Send what is left, and send no more."""
        self.provider.shutdown()


def build_tracing(settings: Settings) -> Traced | None:
    """Return what traces; None where nobody wants traces."""
    url = settings.traces_url
    if url is None:
        return None
    # Of those who trace nothing, nobody waits for these.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

    share = TraceIdRatioBased(settings.trace_share)
    provider = TracerProvider(
        sampler=ParentBased(share, remote_parent_sampled=share, remote_parent_not_sampled=ALWAYS_OFF),
        resource=Resource.create({"service.name": SERVICE, "service.namespace": settings.audit_name}),
        span_limits=SpanLimits(max_span_attributes=_MOST_ATTRIBUTES, max_events=0, max_links=0),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=_EXPORT_TIMEOUT_S)))
    return Traced(Tracing(provider.get_tracer(SERVICE)), provider)
