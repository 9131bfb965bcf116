"""The ASGI application: which request goes where, and what every answer carries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from fieldward.background import Background
from fieldward.check.deployment import require_safe_databases
from fieldward.container import build_services
from fieldward.database import Databases, limits_of, open_pools, opening
from fieldward.jobs import build_exporting, build_jobs, intervals_s
from fieldward.key_watch import watching_keys
from fieldward.live_watch import watching_changes
from fieldward.metric.parts import build_parts
from fieldward.primary_watch import watching_primary
from fieldward.settings import Settings
from fieldward.tracing import build_tracing
from fieldward.web.admission import Admission
from fieldward.web.authentication import context_factory, holds_our_token
from fieldward.web.checkpoint import checkpoint_routes
from fieldward.web.cookie import OwnPage
from fieldward.web.draining import Draining
from fieldward.web.endpoint import GraphQLEndpoint
from fieldward.web.export import export_routes
from fieldward.web.failure import LastResort, answer_refusal
from fieldward.web.foreign_page import ForeignPages
from fieldward.web.gate import Gate
from fieldward.web.header import security_headers
from fieldward.web.health import health_routes
from fieldward.web.limits import BodyLimit
from fieldward.web.live import LiveEndpoint
from fieldward.web.metrics import metrics_routes
from fieldward.web.oauth import oauth_routes
from fieldward.web.origin import origins_of
from fieldward.web.own_document import own_documents
from fieldward.web.pages import page_routes
from fieldward.web.proxy import networks_of
from fieldward.web.published_key import published_key_routes
from fieldward.web.request import Frame
from fieldward.web.traced import TracedRequests
from fieldward.web.transport import Transport
from fieldward.web.upload import upload_routes
from models.counted_connection import CountedConnection, traced_connection
from models.leadership import SEALING, Leadership
from resolvers.import_running import ImportRunning
from resolvers.live import Listeners
from resolvers.mailer import Mailer
from resolvers.stale_reads import StaleReads
from schema.api import Api, build_api
from schema.document import Documents
from schema.harmless_input import harmless_inputs
from schema.live_connection import Live
from schema.transport import GraphQLTransport


def build_app(
    settings: Settings,
    databases: Databases,
    *,
    api: Api | None = None,
    has_background: bool = True,
    mailer: Mailer | None = None,
    admission: Admission | None = None,
    draining: Draining | None = None,
) -> ASGIApp:
    """Build the application. Its pools are open, and its background jobs run, while its lifespan lasts.

    api: the schema, where it is built already. has_background: whether the jobs run, too; without them what is left to
        do is done by other processes. mailer: what takes letters to people where the settings name no mail server.
        admission: the places of the process, where its protocol looks at them as well.
    draining: says when the process was asked to end.

    Raises:
        SchemaError, InventoryError: something in the schema is unguarded; nothing is served.
    """
    api = api or build_api()
    admission = admission or Admission(settings.requests_at_once)
    services = build_services(settings, mailer=mailer)
    traced = build_tracing(settings)
    tracing = None if traced is None else traced.tracing
    services = replace(services, tracing=tracing)
    gate, draining = Gate(), draining or Draining()
    leadership = Leadership(opening(databases.main_cluster, settings, name="fieldward sealing"), SEALING)
    importing, exporting = ImportRunning(), build_exporting(services, settings)
    jobs = build_jobs(
        services,
        settings,
        leads=leadership.is_ours,
        wake=lambda name: background.wake(name),
        importing=importing,
        exporting=exporting,
    )
    background = Background(
        services.keyring, {name: gate.behind(job) for name, job in jobs.items()}, but_s=intervals_s(settings)
    )
    stale_reads = StaleReads(databases.main_cluster, longest_s=settings.longest_staleness_s)
    services = replace(services, wake_afterwards=background.wake_afterwards, stale_reads=stale_reads)
    own_page, proxies = OwnPage.of(settings.public_url), networks_of(settings.trusted_proxies)
    make_context = context_factory(services, own_page, proxies)
    listeners = Listeners()
    documents = Documents(own_documents())
    live = Live(api, documents, listeners, asyncio.Semaphore(max(1, settings.reading_pool_size // 2)))
    endpoint = GraphQLEndpoint(
        GraphQLTransport(api, make_context, documents),
        BodyLimit(is_signed=lambda headers: holds_our_token(services, headers)),
        gate,
        admission,
        stale_reads,
    )

    foreign_pages = ForeignPages(origins_of(settings.allowed_origins))
    live_endpoint = LiveEndpoint(live, services, gate, own_page, proxies, foreign_pages)
    parts = build_parts(services, settings, background, importing, exporting, live_endpoint, draining, admission)

    async def require_safe() -> None:
        await require_safe_databases(databases)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if traced is not None:
                stack.callback(traced.end)
            for name, cluster in (("main", databases.main_cluster), ("keystore", databases.keystore_cluster)):
                limits = limits_of(settings, name=f"fieldward {name} watch")
                await stack.enter_async_context(watching_primary(cluster, name, limits))
            by = CountedConnection if tracing is None else traced_connection(tracing)
            await stack.enter_async_context(open_pools(databases, settings, by))
            connect = opening(databases.keystore_cluster, settings, name="fieldward key watch")
            await stack.enter_async_context(watching_keys(services.keyring, services.signing_keys, connect))
            await stack.enter_async_context(gate.opening(services, require_safe if settings.is_production else None))
            hear = opening(databases.main_cluster, settings, name="fieldward live watch")
            await stack.enter_async_context(watching_changes(listeners, hear))
            stack.callback(leadership.let_go)
            if has_background:
                await stack.enter_async_context(background.running())
            yield

    others = Starlette(
        routes=[
            *health_routes(gate, draining, stale_reads),
            *metrics_routes(settings.metrics_token, parts),
            *checkpoint_routes(services.sealer, gate),
            *published_key_routes(services.signing_keys),
            *oauth_routes(services, admission, gate, public_url=settings.public_url, proxies=proxies),
            *upload_routes(make_context, gate),
            *export_routes(services, make_context, gate, proxies=proxies),
            *page_routes(audience=settings.audience, kept_inputs=harmless_inputs(api._schema)),
        ],
        middleware=[Middleware(LastResort)],
        exception_handlers={HTTPException: answer_refusal},
        lifespan=lifespan,
    )
    # A redirect would go to whatever host the client named.
    others.router.redirect_slashes = False
    headers = security_headers(is_production=settings.is_production)
    transport = Transport(is_tls_demanded=settings.is_production, proxies=proxies)
    frame = Frame(
        services.keyring,
        endpoint,
        live_endpoint,
        others,
        services.meter,
        headers=headers,
        transport=transport,
    )
    app = foreign_pages.answering(frame, headers, transport)
    return app if tracing is None else TracedRequests(tracing, app)
