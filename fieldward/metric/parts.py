"""Which parts tell figures to `/metrics`. A part is hooked in by a line here."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from fieldward.background import Background
from fieldward.backup.job import ages_of
from fieldward.metric.incident import incident_metrics
from fieldward.metric.part import Part, counter, gauges
from fieldward.metric.process import job_metrics, keyring_metrics, machine_metrics, pool_metrics
from fieldward.metric.request import request_metrics
from fieldward.settings import Settings
from fieldward.web.admission import Admission
from fieldward.web.draining import Draining
from fieldward.web.live import LiveEndpoint
from resolvers.backup_metric import SAID, backup_figures
from resolvers.erasure_metric import erasure_figures
from resolvers.export_job import Exporting
from resolvers.import_running import ImportRunning
from resolvers.incident_metric import figures
from resolvers.process_metric import keyring_figures, pool_figures, statements_sent
from resolvers.services import Services


def build_parts(
    services: Services,
    settings: Settings,
    background: Background,
    importing: ImportRunning,
    exporting: Exporting,
    live: LiveEndpoint,
    draining: Draining,
    admission: Admission,
) -> Mapping[str, Part]:
    """Return the parts, by their names. Each is asked at each look."""
    is_published = settings.audit_publish_url is not None

    async def incidents() -> Iterable[Metric]:
        return incident_metrics(await figures(is_published=is_published))

    async def erasures() -> Iterable[Metric]:
        told = {"open": "Requests for erasure that are not over.", "overdue": "Confirmed ones that should be."}
        return gauges("erasure", await erasure_figures(), told)

    async def backups() -> Iterable[Metric]:
        ages = await asyncio.to_thread(ages_of, settings)
        return gauges("backup", await backup_figures(ages, now=datetime.now(UTC)), SAID)

    return {
        "requests": _now(lambda: request_metrics(services.meter)),
        "admission": _now(lambda: [_turned_away(admission)]),
        "pools": _now(lambda: pool_metrics(pool_figures())),
        "statements": _now(
            lambda: [counter("fieldward_statements", "Statements sent to the databases.", statements_sent())]
        ),
        "keyring": _now(lambda: keyring_metrics(keyring_figures(services.keyring))),
        "jobs": _now(lambda: job_metrics(background.figures)),
        "work": _now(lambda: _work(importing, exporting)),
        "live": _now(lambda: gauges("live", live, {"connections": "WebSockets that are open."})),
        "draining": _now(lambda: gauges("process", draining, {"is_ending": "Whether the process was asked to end."})),
        "incidents": incidents,
        "erasures": erasures,
        "backups": backups,
        "process": machine_metrics,
    }


def _work(importing: ImportRunning, exporting: Exporting) -> list[Metric]:
    """Return how many imports and exports this process is at."""
    running = GaugeMetricFamily("fieldward_work_running", "What this process has open.", labels=("of",))
    running.add_metric(("import",), importing.open_count)
    running.add_metric(("export",), exporting.open_count)
    return [running]


def _turned_away(admission: Admission) -> Metric:
    # They are answered before they are read, and so are in no count of requests.
    return counter("fieldward_requests_turned_away", "Requests told to come again unread.", admission.turned_away)


def _now(tell: Callable[[], Iterable[Metric]]) -> Part:
    """Return a part that asks nobody for its figures."""

    async def told() -> Iterable[Metric]:
        return tell()

    return told
