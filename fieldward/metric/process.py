"""The figures of the process itself: its pools, keys, statements, jobs, connections; memory and processor."""

import asyncio
from collections.abc import Iterable, Sequence

from prometheus_client import GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from fieldward.background import JobFigures
from fieldward.metric.part import counter, gauges
from resolvers.process_metric import KeyringFigures, PoolFigures


def pool_metrics(pools: Sequence[PoolFigures]) -> list[Metric]:
    """Return the figures of the pools, each by its name."""
    told: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
        "largest": GaugeMetricFamily("fieldward_pool_size", "Connections there may be.", labels=("pool",)),
        "in_use": GaugeMetricFamily("fieldward_pool_in_use", "Connections that somebody holds.", labels=("pool",)),
        "queue": GaugeMetricFamily("fieldward_pool_queue", "Who waits for a connection now.", labels=("pool",)),
        "waits": CounterMetricFamily("fieldward_pool_waits", "How often one was waited for.", labels=("pool",)),
        "waited_s": CounterMetricFamily(
            "fieldward_pool_waited_seconds", "For how long they were waited for in all.", labels=("pool",)
        ),
    }
    for pool in pools:
        for name, family in told.items():
            family.add_metric((pool.name,), getattr(pool, name))
    return list(told.values())


def keyring_metrics(keys: KeyringFigures) -> list[Metric]:
    """Return the figures of the data keys in memory."""
    return [
        *gauges("keyring", keys, {"held": "Data keys in memory."}),
        counter("fieldward_keyring_asked", "How often data keys were to be loaded.", keys.asked),
        counter("fieldward_keyring_fetched", "How often the keystore was asked for some.", keys.fetched),
        counter("fieldward_keyring_failures", "How often it, or the key provider, was away then.", keys.failures),
    ]


def job_metrics(jobs: Sequence[JobFigures]) -> list[Metric]:
    """Return the figures of the background jobs, each by its name."""
    runs = CounterMetricFamily("fieldward_job_runs", "How often a job was called.", labels=("background_job",))
    failures = CounterMetricFamily("fieldward_job_failures", "How often it raised.", labels=("background_job",))
    spent = CounterMetricFamily("fieldward_job_seconds", "For how long it ran in all.", labels=("background_job",))
    success = GaugeMetricFamily(
        "fieldward_job_last_success_timestamp_seconds",
        "When it last came to an end, 0 for never.",
        labels=("background_job",),
    )
    began = GaugeMetricFamily(
        "fieldward_job_first_call_timestamp_seconds",
        "When it was first called, 0 for never.",
        labels=("background_job",),
    )
    every = GaugeMetricFamily(
        "fieldward_job_interval_seconds", "How often it is called at least.", labels=("background_job",)
    )
    for job in jobs:
        runs.add_metric((job.name,), job.runs)
        failures.add_metric((job.name,), job.failures)
        spent.add_metric((job.name,), job.spent_s)
        success.add_metric((job.name,), job.succeeded_at)
        began.add_metric((job.name,), job.began_at)
        every.add_metric((job.name,), job.every_s)
    return [runs, failures, spent, success, began, every]


async def machine_metrics() -> Iterable[Metric]:
    """Return memory, processor, open files and collections of the process, and how late its event loop is."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(0)
    lag = GaugeMetricFamily("fieldward_event_loop_lag_seconds", "How long the loop took to come round.")
    lag.add_metric((), loop.time() - began)
    return [*registry.collect(), lag]
