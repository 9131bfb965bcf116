"""How a part tells its figures: as metrics, made of a dataclass by one line for each."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Part = Callable[[], Awaitable[Iterable[Metric]]]
"""Tells the figures of a part of the service, of now."""

_UNITS = {"_s": "_seconds", "_bytes": "_bytes"}


def gauges(part: str, figures: Any, said: Mapping[str, str]) -> list[Metric]:
    """Return a gauge for each of the attributes of `figures` that are said; without a value for one that is None.

    part: what the names begin with, behind `fieldward_`. said: of each attribute, what it is. One that ends in `_s` is
    in seconds, and its metric's name says so.
    """
    found: list[Metric] = []
    for name, what in said.items():
        value = getattr(figures, name)
        gauge = GaugeMetricFamily(metric_name(part, name), what)
        if value is not None:
            gauge.add_metric((), float(value))
        found.append(gauge)
    return found


def counter(name: str, what: str, value: float) -> Metric:
    """Return a count that only grows. name: without `_total`, which is put behind it."""
    made = CounterMetricFamily(name, what)
    made.add_metric((), value)
    return made


def metric_name(part: str, name: str) -> str:
    """Return what a figure's metric is called."""
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return f"fieldward_{part}_{name.removesuffix(ending)}{unit}"
    return f"fieldward_{part}_{name}"
