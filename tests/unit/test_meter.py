"""What is counted of requests."""

from prometheus_client.core import HistogramMetricFamily

from fieldward.metric.part import gauges, metric_name
from fieldward.metric.request import request_metrics
from resolvers.meter import BOUNDS_S, Ended, Meter


def test_a_duration_falls_into_the_bucket_of_the_first_bound_that_it_does_not_exceed() -> None:
    meter = Meter()
    for took_s in (0.001, BOUNDS_S[0], 0.0051, 11.0):
        meter.note("/graphql", "query", 200, took_s)

    (durations,) = meter.ended.values()
    cumulative = dict(durations.cumulative)

    assert durations.count == 4
    assert (cumulative[BOUNDS_S[0]], cumulative[BOUNDS_S[1]], cumulative[BOUNDS_S[-1]], cumulative[None]) == (
        2,
        3,
        3,
        4,
    )
    assert durations.total_s == 0.001 + BOUNDS_S[0] + 0.0051 + 11.0


def test_requests_are_told_apart_by_address_kind_and_the_first_digit_of_the_status() -> None:
    meter = Meter()
    for status in (200, 206, 404, 429, 503):
        meter.note("/exports/{export}/{name}", "none", status, 0.1)
    meter.note("/graphql", "mutation", 200, 0.1)

    assert {ended: one.count for ended, one in meter.ended.items()} == {
        Ended("/exports/{export}/{name}", "none", 2): 2,
        Ended("/exports/{export}/{name}", "none", 4): 2,
        Ended("/exports/{export}/{name}", "none", 5): 1,
        Ended("/graphql", "mutation", 2): 1,
    }


def test_what_has_not_happened_yet_is_told_as_none() -> None:
    told = {family.name: family for family in request_metrics(Meter())}

    codes = {sample.labels["code"]: sample.value for sample in told["fieldward_errors"].samples}
    assert codes["INTERNAL"] == codes["UNKNOWN_OUTCOME"] == 0
    assert isinstance(told["fieldward_request_duration_seconds"], HistogramMetricFamily)
    assert {sample.value for sample in told["fieldward_requests"].samples} == {0}


def test_the_buckets_of_a_duration_are_those_of_all_statuses() -> None:
    meter = Meter()
    meter.note("/graphql", "query", 200, 0.01)
    meter.note("/graphql", "query", 500, 0.3)

    samples = {family.name: family for family in request_metrics(meter)}["fieldward_request_duration_seconds"].samples
    queries = [one for one in samples if one.labels["kind"] == "query"]

    assert next(one.value for one in queries if one.name.endswith("_count")) == 2
    assert {one.labels["le"]: one.value for one in queries if one.name.endswith("_bucket")}["0.01"] == 1


def test_a_figure_is_named_by_its_part_and_its_unit_and_has_no_value_where_it_is_none() -> None:
    class Figures:
        age_s = 3.5
        size_bytes = 10
        failed = True
        unknown = None

    told = gauges("backup", Figures(), {name: name for name in ("age_s", "size_bytes", "failed", "unknown")})

    assert [(one.name, sample.value) for one in told for sample in one.samples] == [
        ("fieldward_backup_age_seconds", 3.5),
        ("fieldward_backup_size_bytes", 10.0),
        ("fieldward_backup_failed", 1.0),
    ]
    assert metric_name("backup", "runs") == "fieldward_backup_runs"
