"""`incidents` and `alarms`: what the rules over the trail found, of all organizations, and whether alarms arrive."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.container import build_outbox
from resolvers.alarm import send_test
from resolvers.incident import ListedIncident, close_for_installation, list_for_operator
from resolvers.incident_judging import organizations

NOT_SENT = 1
"""The exit code where a test alarm did not leave."""

app = typer.Typer(help="What the rules over the audit trail found.", no_args_is_help=True)
alarms_app = typer.Typer(help="Alarms about incidents.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def _incidents() -> None:
    """What the rules over the audit trail found."""


@app.command("list")
def list_command(
    with_closed: Annotated[bool, typer.Option("--all", help="Those that are closed, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the incidents that are not closed, of all organizations and of the installation itself, newest first.

    No person is named: who belongs to the organization sees more in the API. What belongs to no organization, such as
    sign-ins to accounts that nobody has, is the installation's. Times are in UTC.

    Example: fieldward incidents list --json
    """

    async def work() -> list[ListedIncident]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service):
                return await list_for_operator(await organizations(), with_closed=with_closed)

    found = run(work())
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str))
        return
    if not found:
        print("There is no incident." if with_closed else "There is no incident that is not closed.")
    for one in found:
        whose = one.slug or "the installation"
        alarms = ", ".join(f"{channel} {state}" for channel, state in one.alarms.items()) or "no alarms"
        print(
            f"{one.opened_at:%Y-%m-%d %H:%M:%S}  {one.severity:<8}  {one.status:<12}  {one.rule:<22}"
            f"  count {one.count}  {whose}  {one.id}  ({alarms})"
        )


@app.command("close")
def close_command(
    incident: Annotated[UUID, typer.Argument(help="The incident, as `incidents list` prints it.")],
    note: Annotated[str, typer.Option(help="What it turned out to be.")],
    as_json: AsJson = False,
) -> None:
    """Close an incident of the installation. Those of an organization are closed by its people, through the API.

    Example: fieldward incidents close 0198c0de-0000-7000-8000-000000000001 --note "A test of ours."
    """

    async def work() -> None:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service):
                await close_for_installation(operator(), incident_id=incident, note=note)

    run(work())
    print(json.dumps({"closed": str(incident)}) if as_json else f"closed: {incident}")


@alarms_app.callback()
def _alarms() -> None:
    """Alarms about incidents."""


@alarms_app.command("test")
def send_test_command(as_json: AsJson = False) -> None:
    """Send a test alarm through each channel that is set up, and say what became of it.

    Exit code 1 where one did not leave, 2 where no channel is set up.

    Example: fieldward alarms test
    """

    outbox = build_outbox(load_settings())
    if not outbox.senders:
        refuse("no channel is set up: FIELDWARD_ALARM_EMAIL_TO or FIELDWARD_ALARM_WEBHOOK_URL says where to")
    found = run(send_test(outbox, datetime.now(UTC)))
    if as_json:
        print(json.dumps({channel.lower(): failure or "sent" for channel, failure in found.items()}))
    else:
        for channel, failure in found.items():
            print(f"{channel.lower()}: {'sent' if failure is None else f'not sent, {failure}'}")
    if any(found.values()):
        raise typer.Exit(NOT_SENT)
