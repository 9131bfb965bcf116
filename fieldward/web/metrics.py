"""What a collector asks for: figures of incidents, alarms, sealing and overdue reviews, in the format of Prometheus.

They tell how a whole installation is doing, and so are for who has the operator's token alone. To anybody else there is
no such address.
"""

import hmac
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.incident import Channel
from resolvers.incident_metric import Figures, figures
from resolvers.incident_rule import RULES

METRICS: Final = "/metrics"


def metrics_routes(token: SecretStr | None, *, is_published: bool) -> list[Route]:
    """Return the route of `/metrics`; none where there is no token.

    token: what is to be sent as `Authorization: Bearer …`.
    is_published: whether heads are laid down outside; else there is no lag of it.
    """
    if token is None:
        return []
    expected = token.get_secret_value().encode()

    async def metrics(request: Request) -> Response:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode("latin-1"), expected):
            raise HTTPException(404)
        return Response(exposed(await figures(is_published=is_published)), media_type=CONTENT_TYPE_LATEST)

    return [Route(METRICS, metrics)]


def exposed(told: Figures) -> bytes:
    """Return the figures in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(told))
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, told: Figures) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        told = self._told
        opened = CounterMetricFamily(
            "fieldward_incidents_opened", "Incidents that were ever opened.", labels=("rule", "severity")
        )
        unclosed = GaugeMetricFamily(
            "fieldward_incidents_open", "Incidents that are not closed.", labels=("rule", "severity")
        )
        # A rule that found nothing yet is 0, or an alert on its increase would miss the first.
        counts = {(rule.name, str(rule.severity)): (0, 0) for rule in RULES}
        counts |= {(one.rule, one.severity): (one.opened, one.unclosed) for one in told.incidents}
        for labels, (ever, now) in counts.items():
            opened.add_metric(labels, ever)
            unclosed.add_metric(labels, now)
        failures = CounterMetricFamily(
            "fieldward_alarm_delivery_failures", "Attempts to send an alarm that came to nothing.", labels=("channel",)
        )
        for channel in Channel:
            failed = sum(one.failures for one in told.deliveries if one.channel == channel)
            failures.add_metric((channel.lower(),), failed)
        deliveries = GaugeMetricFamily(
            "fieldward_alarm_deliveries", "Alarms, by how far they have come.", labels=("channel", "state")
        )
        for one in told.deliveries:
            deliveries.add_metric((one.channel.lower(), one.state.lower()), one.deliveries)
        lag = GaugeMetricFamily(
            "fieldward_sealing_lag_seconds", "How long the oldest entry of the trail has waited to be sealed."
        )
        lag.add_metric((), told.sealing_lag_s)
        judging = GaugeMetricFamily(
            "fieldward_judging_lag_seconds", "How long the oldest signed head has waited to be judged by the rules."
        )
        judging.add_metric((), told.judging_lag_s)
        overdue = GaugeMetricFamily(
            "fieldward_access_reviews_overdue", "Reviews of access that are open after the day they were due."
        )
        overdue.add_metric((), told.overdue_reviews)
        yield from (opened, unclosed, failures, deliveries, lag, judging, overdue)
        if told.publication_lag_s is not None:
            publication = GaugeMetricFamily(
                "fieldward_publication_lag_seconds", "How long the oldest signed head has waited to be published."
            )
            publication.add_metric((), told.publication_lag_s)
            yield publication
