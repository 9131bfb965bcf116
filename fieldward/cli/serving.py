"""`serve` and `migrate`."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final

import typer
import uvicorn
import uvloop

from fieldward.check.deployment import RefusedStartError, refused_at_start, require_safe_databases
from fieldward.check.finding import Finding
from fieldward.cli.environment import Reach, load_settings, reach, refuse, run
from fieldward.cli.listening import listen, notify, url_of
from fieldward.database import migrate
from fieldward.logs import configure_logs
from fieldward.settings import Settings
from fieldward.web.admission import Admission
from fieldward.web.app import build_app
from fieldward.web.draining import Draining
from fieldward.web.handshake import RefusableHandshake
from fieldward.web.live import LARGEST_MESSAGE
from fieldward.web.protocol import bounded_protocol, most_connections
from fieldward.web.server import DrainingServer
from fieldward.web.tls import Certificate, CertificateError
from models.errors import UnavailableError
from resolvers.mailer import Mailer

_TURN_S: Final = 0.0001
"""Seconds that one thread computes while another wants to. A thread that prepares a large operation computes all the
time, and each answer that is waited for meanwhile takes several turns."""


def serve() -> None:
    """Serve the API. With the embedded database, bring it to the newest schema first.

    Example: FIELDWARD_PORT=8080 fieldward serve
    """
    settings = load_settings()
    configure_logs(settings.log_format)
    require_startable(settings)
    listening = listen(settings)
    with reach(settings) as reached:
        if reached.embedded is not None and reached.owner is not None:
            run(migrate(reached.owner, settings))
        if settings.is_production:
            run(_require_safe(reached))
        address = url_of(listening, is_tls=settings.tls_certificate is not None)
        serve_on(
            listening, settings, reached, ready=lambda: print(f"Serving on {address}", file=sys.stderr, flush=True)
        )


def require_startable(settings: Settings) -> None:
    """Exit with 2 where what the settings and files say is not to be served: in production what is not safe, and in
    development whatever others than this machine could reach.
    """
    if settings.is_production:
        _refuse_all(refused_at_start(settings))
    elif not settings.is_on_loopback:
        refuse(
            f"FIELDWARD_MODE: expected production, to listen on {settings.host}. In development, which refuses nothing"
            " that is unsafe, the service listens on this machine alone: FIELDWARD_HOST=127.0.0.1."
        )
    elif settings.trusted_proxies is not None:
        refuse(
            "FIELDWARD_MODE: expected production, behind the proxies of FIELDWARD_TRUSTED_PROXIES. In development the"
            " service is reached from this machine alone."
        )


async def _require_safe(reached: Reach) -> None:
    """Exit with 2 where a database lets the service in as who may too much. One that is away is asked later."""
    try:
        await require_safe_databases(reached.service)
    except RefusedStartError as error:
        _refuse_all(error.findings)
    except UnavailableError:
        return


def _refuse_all(findings: Sequence[Finding]) -> None:
    for one in findings[:-1]:
        print(f"fieldward: {one.refusal}", file=sys.stderr)
    if findings:
        refuse(findings[-1].refusal)


def migrate_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print what was applied as JSON.")] = False,
) -> None:
    """Bring the databases to the newest schema, as their owner (FIELDWARD_OWNER_DATABASE_URL).

    Example: fieldward migrate --json
    """
    settings = load_settings()
    applied: list[str] = []

    def note(event: str, app: str, name: str) -> None:
        if event == "apply_done":
            applied.append(f"{app}.{name}")

    with reach(settings) as reached:
        if reached.owner is None:
            refuse("FIELDWARD_OWNER_DATABASE_URL: expected, to migrate as the owner")
        run(migrate(reached.owner, settings, progress=note))
    if as_json:
        print(json.dumps({"applied": applied}))
    else:
        print("\n".join(f"applied {one}" for one in applied) or "The schema is up to date.")


def serve_on(
    listening: socket.socket,
    settings: Settings,
    reached: Reach,
    *,
    ready: Callable[[], None] = lambda: None,
    mailer: Mailer | None = None,
) -> None:
    """Serve until a SIGINT or SIGTERM; `ready` is called once requests are answered.

    mailer: what takes letters to people where no mail server is set.
    """
    admission, draining = Admission(settings.requests_at_once), Draining()
    certificate = _certificate(settings)
    tls: dict[str, Any] = {} if certificate is None else {"ssl_context_factory": lambda *_: certificate.context}

    def say_ready() -> None:
        notify("READY=1")
        ready()

    server = DrainingServer(
        uvicorn.Config(
            build_app(settings, reached.service, mailer=mailer, admission=admission, draining=draining),
            http=bounded_protocol(admission, draining, is_production=settings.is_production, most=most_connections()),
            ws=RefusableHandshake,
            ws_max_size=LARGEST_MESSAGE,
            # Compressed, what is secret and what somebody else chose would tell of each other by their length.
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=round(settings.shutdown_grace_s),
            **tls,
        ),
        draining,
        ready=say_ready,
        ending=lambda: notify("STOPPING=1"),
        delay_s=settings.shutdown_delay_s,
    )
    sys.setswitchinterval(_TURN_S)
    # uvicorn raises the signal again once it has shut down; what we started must be stopped before that ends us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server, listening, certificate))
    if not server.started:
        refuse("the service did not start; see the log", code=1)


async def _serve(server: uvicorn.Server, listening: socket.socket, certificate: Certificate | None) -> None:
    async with AsyncExitStack() as stack:
        if certificate is not None:
            await stack.enter_async_context(certificate.renewing())
        await server.serve(sockets=[listening])


def _certificate(settings: Settings) -> Certificate | None:
    """Return what TLS is spoken with; None where it is not. Exits with 2 where it can't be."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_certificate, settings.tls_key)
    except CertificateError as error:
        refuse(f"FIELDWARD_TLS_CERTIFICATE: {error}")
