"""`serve` and `migrate`."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Final

import typer
import uvicorn
import uvloop

from fieldward.cli.environment import Reach, load_settings, reach, refuse, run
from fieldward.cli.listening import listen, notify, url_of
from fieldward.database import migrate
from fieldward.logs import configure_logs
from fieldward.settings import Settings
from fieldward.web.app import build_app
from fieldward.web.draining import Draining
from fieldward.web.live import LARGEST_MESSAGE
from fieldward.web.protocol import protocol_of
from fieldward.web.server import DrainingServer
from resolvers.mailer import Mailer

_TURN_S: Final = 0.0005
"""Seconds that one thread computes while another wants to. A thread that prepares a large operation computes all the
time, and each answer that is waited for meanwhile takes several turns."""


def serve() -> None:
    """Serve the API. With the embedded database, bring it to the newest schema first.

    Example: FIELDWARD_PORT=8080 fieldward serve
    """
    settings = load_settings()
    configure_logs(settings.log_format)
    listening = listen(settings)
    with reach(settings) as reached:
        if reached.embedded is not None and reached.owner is not None:
            run(migrate(reached.owner, settings))
        address = url_of(listening)
        serve_on(
            listening, settings, reached, ready=lambda: print(f"Serving on {address}", file=sys.stderr, flush=True)
        )


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
    draining = Draining()

    def say_ready() -> None:
        notify("READY=1")
        ready()

    server = DrainingServer(
        uvicorn.Config(
            build_app(settings, reached.service, mailer=mailer, draining=draining),
            http=protocol_of(draining),
            ws="websockets-sansio",
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
        runner.run(server.serve(sockets=[listening]))
    if not server.started:
        refuse("the service did not start; see the log", code=1)
