"""`audit`: sealing the trail by hand, beginning a log anew, and being a witness of others'."""

import asyncio
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn

from fieldward.cli import audit_expire, audit_export, audit_verify
from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.container import kept_signer
from fieldward.logs import configure_logs
from fieldward.witness import Logs, Witness, WitnessState, witness_app
from models.ledger.checkpoint import CheckpointError, SignatureType, VerifierKey
from resolvers.log_restart import restart_log
from resolvers.trail_sealing import seal_everything

NOT_SEALED = 6
"""The exit code where something is left that could not be sealed."""

log = structlog.get_logger()

app = typer.Typer(
    help="The audit trail: sealing, witnessing, verifying and exporting it, and what leaves it.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def _audit() -> None:
    """The audit trail: sealing, witnessing, verifying and exporting it, and what leaves it."""


@app.command("seal")
def seal(as_json: AsJson = False) -> None:
    """Seal what is not sealed, where no server runs that does. A running one seals by itself, within seconds.

    Exit code 6 where an organization could not be sealed, or where a transaction that still runs holds something up.

    Example: fieldward audit seal --json
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        # What is not sealed is told in the log, which is no part of the result.
        configure_logs(settings.log_format)
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                return asdict(await seal_everything(built.sealer))

    found = run(work())
    if as_json:
        print(json.dumps(found, default=str))
    else:
        print(f"sealed: {found['entries']} entries of {found['organizations']} organizations")
        for one in found["failed"]:
            print(f"not sealed: {one}")
        if found["lag_s"]:
            print(f"not sealed yet: the oldest entry is {found['lag_s']:.0f} s old")
    if found["failed"] or found["lag_s"]:
        raise typer.Exit(NOT_SEALED)


@app.command("key")
def key(as_json: AsJson = False) -> None:
    """Print the verifier key of this installation: who has it verifies every head of it. Needs no database.

    Example: fieldward audit key
    """
    settings = load_settings()
    settings.data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = kept_signer(settings.data_directory / "audit-signing-key.pem")
    found = str(signer.verifier_key(settings.audit_name))
    print(json.dumps({"verifier_key": found}) if as_json else found)


@app.command("restart")
def restart(
    organization: Annotated[
        str, typer.Option(help="The organization's slug; `-` for what the service did in no organization.")
    ],
    reason: Annotated[str, typer.Option(help="Why, for the trail.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin an organization's log anew, under another origin, after a restore that has lost published entries.

    Refused where the log goes on from what was published of it. The trail then says which head was lost, and who has it
    can show that. There is no way back.

    Example: fieldward audit restart --organization acme --reason "Restored to 3 March 10:00 after the disk failed"
    """
    if not yes:
        typer.confirm("Begin this log anew, and so say that published entries are lost?", abort=True, err=True)

    async def work() -> dict[str, Any]:
        settings = load_settings()
        # What is not sealed is told in the log, which is no part of the result.
        configure_logs(settings.log_format)
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                slug = None if organization == "-" else organization
                return asdict(await restart_log(built, operator(), slug=slug, reason=reason))

    found = run(work())
    if as_json:
        print(json.dumps(found, default=str))
    else:
        print(f"lost: {found['lost_size']} leaves were published, {found['kept_size']} are there")
        print(f"goes on as: {found['origin']}")


@app.command("witness")
def witness(
    key: Annotated[Path, typer.Option(help="The file of its key; made where there is none.")],
    state: Annotated[Path, typer.Option(help="The file that remembers what it has cosigned.")],
    name: Annotated[str, typer.Option(help="Its name, such as witness.example.org/w1.")],
    log: Annotated[list[str] | None, typer.Option(help="A log's verifier key; may be repeated.")] = None,
    logs_below: Annotated[
        list[str] | None,
        typer.Option(help="The verifier key of an installation: of all logs below its name; may be repeated."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8700,
) -> None:
    """Be a witness (C2SP tlog-witness): cosign heads of logs that only grew. Needs no database and no settings.

    It prints its own verifier key, for FIELDWARD_AUDIT_WITNESSES. Run it on another machine than the log's.

    Example: fieldward audit witness --key w1.pem --state w1.state --name witness.example/w1 --logs-below
    "audit.example+…"
    """
    if not log and not logs_below:
        refuse("expected --log or --logs-below: whose heads to cosign")
    logs = Logs(
        [_log_key(one, "--log") for one in log or ()], [_log_key(one, "--logs-below") for one in logs_below or ()]
    )
    try:
        own = Witness(kept_signer(key), name, WitnessState(state), logs)
        VerifierKey.parse(str(own.key))
    except CheckpointError:
        refuse("--name: expected a name without spaces and plus signs")
    configure_logs("json")
    config = uvicorn.Config(
        witness_app(own),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    print(f"Witness {own.key}\nServing on http://{host}:{port}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asyncio.run(uvicorn.Server(config).serve())


app.command("verify")(audit_verify.verify)
app.command("export")(audit_export.export)
app.command("expire")(audit_expire.expire)


def _log_key(text: str, given: str) -> VerifierKey:
    try:
        found = VerifierKey.parse(text)
    except CheckpointError as error:
        refuse(f"{given}: {error}")
    if found.type is not SignatureType.ED25519:
        refuse(f"{given}: expected the verifier key of a log, not of a witness")
    return found
