"""What a collector asks for, in the format of Prometheus: the figures of each part, put together.

They tell how a whole installation is doing, and so are for who has the operator's token alone. To anybody else there is
no such address. A part that can't tell its figures holds up no other: it is told as down.
"""

import asyncio
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fieldward.metric.part import Part

METRICS: Final = "/metrics"
PART_TIMEOUT_S: Final = 5.0
"""Seconds that one part may take for its figures."""

log = structlog.get_logger()


def metrics_routes(token: SecretStr | None, parts: Mapping[str, Part]) -> list[Route]:
    """Return the route of `/metrics`; none where there is no token.

    token: what is to be sent as `Authorization: Bearer …`. parts: what tells figures, by name.
    """
    if token is None:
        return []
    expected = token.get_secret_value().encode()

    async def metrics(request: Request) -> Response:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode("latin-1"), expected):
            raise HTTPException(404)
        return Response(exposed(await told_by(parts)), media_type=CONTENT_TYPE_LATEST)

    return [Route(METRICS, metrics)]


async def told_by(parts: Mapping[str, Part]) -> list[Metric]:
    """Return the figures of all parts that can tell them, and which those are."""
    up = GaugeMetricFamily("fieldward_part_up", "Whether a part could tell its figures.", labels=("part",))
    found: list[Metric] = [up]
    for name, part in parts.items():
        try:
            async with asyncio.timeout(PART_TIMEOUT_S):
                found += await part()
        except Exception as error:
            log.warning("metrics_incomplete", part=name, failure=type(error).__name__)
            up.add_metric((name,), 0)
        else:
            up.add_metric((name,), 1)
    return found


def exposed(told: Iterable[Metric]) -> bytes:
    """Return figures in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(told))
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, told: Iterable[Metric]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        return iter(self._told)
