"""The figures of incidents, alarms, work on the trail and overdue reviews."""

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from models.incident import Channel
from resolvers.incident_metric import DeliveryCount, Figures, IncidentCount
from resolvers.incident_rule import RULES

_LAGS: Final = {
    "sealing_lag_s": ("sealing_lag_seconds", "How long the oldest entry of the trail has waited to be sealed."),
    "judging_lag_s": ("judging_lag_seconds", "How long the oldest signed head has waited to be judged by the rules."),
    "publication_lag_s": ("publication_lag_seconds", "How long the oldest signed head has waited to be published."),
    "overdue_reviews": ("access_reviews_overdue", "Reviews of access that are open after the day they were due."),
}


def incident_metrics(told: Figures) -> list[Metric]:
    """Return them as metrics; of what does not apply, none."""
    found = [*_of_incidents(told.incidents), *_of_alarms(told.deliveries)]
    for attribute, (name, what) in _LAGS.items():
        value = getattr(told, attribute)
        if value is not None:
            gauge = GaugeMetricFamily(f"fieldward_{name}", what)
            gauge.add_metric((), value)
            found.append(gauge)
    return found


def _of_incidents(incidents: Sequence[IncidentCount]) -> Iterable[Metric]:
    labels = ("rule", "severity")
    opened = CounterMetricFamily("fieldward_incidents_opened", "Incidents that were ever opened.", labels=labels)
    unclosed = GaugeMetricFamily("fieldward_incidents_open", "Incidents that are not closed.", labels=labels)
    # A rule that found nothing yet is 0, or an alert on its increase would miss the first.
    counts = {(rule.name, str(rule.severity)): (0, 0) for rule in RULES}
    counts |= {(one.rule, one.severity): (one.opened, one.unclosed) for one in incidents}
    for values, (ever, now) in counts.items():
        opened.add_metric(values, ever)
        unclosed.add_metric(values, now)
    return opened, unclosed


def _of_alarms(told: Sequence[DeliveryCount]) -> Iterable[Metric]:
    failures = CounterMetricFamily(
        "fieldward_alarm_delivery_failures", "Attempts to send an alarm that came to nothing.", labels=("channel",)
    )
    for channel in Channel:
        failures.add_metric((channel.lower(),), sum(one.failures for one in told if one.channel == channel))
    deliveries = GaugeMetricFamily(
        "fieldward_alarm_deliveries", "Alarms, by how far they have come.", labels=("channel", "state")
    )
    for one in told:
        deliveries.add_metric((one.channel.lower(), one.state.lower()), one.deliveries)
    return failures, deliveries
