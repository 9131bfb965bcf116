"""The figures of requests: how many, how they ended, how long they took, and what was refused."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from auth.errors import Code
from fieldward.web.request import GRAPHQL
from resolvers.meter import Durations, Ended, Meter
from schema.transport import KINDS


def request_metrics(meter: Meter) -> list[Metric]:
    """Return them as metrics. What did not happen yet is 0, so that an alert on its increase does not miss the first.

    Labels are the addresses as they are declared, kinds of operations, statuses as `5xx`, and codes.
    """
    labels = ("route", "kind", "status")
    requests = CounterMetricFamily("fieldward_requests", "Requests that were answered.", labels=labels)
    took = HistogramMetricFamily(
        "fieldward_request_duration_seconds", "How long it took to answer them.", labels=("route", "kind")
    )
    by_kind: dict[tuple[str, str], Durations] = {}
    none = {Ended(GRAPHQL, kind, status): Durations() for kind in KINDS for status in (2, 4, 5)}
    for (route, kind, status), durations in (none | dict(meter.ended)).items():
        requests.add_metric((route, kind, f"{status}xx"), durations.count)
        by_kind.setdefault((route, kind), Durations()).add(durations)
    for values, durations in by_kind.items():
        buckets = [("+Inf" if bound is None else str(bound), count) for bound, count in durations.cumulative]
        took.add_metric(values, buckets, durations.total_s)
    progress = GaugeMetricFamily("fieldward_requests_in_progress", "Requests that are being answered.")
    progress.add_metric((), meter.in_progress)
    refused = CounterMetricFamily(
        "fieldward_errors", "Errors that were answered, in the answer or in a payload.", labels=("code",)
    )
    for code in Code:
        refused.add_metric((code,), meter.refusals.get(code, 0))
    return [requests, took, progress, refused]
