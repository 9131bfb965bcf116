"""`demo`: everything in one command, to try Fieldward out."""

import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from fieldward.cli.environment import Reach, load_settings, operator, reach, refuse, run, services
from fieldward.cli.listening import listen
from fieldward.cli.serving import require_startable, serve_on
from fieldward.database import migrate
from fieldward.demo.load import load_demo, new_passwords
from fieldward.demo.people import ORGANIZATIONS, PEOPLE, PROGRAM
from fieldward.logs import configure_logs
from fieldward.settings import Settings
from resolvers.mailer import ConsoleMailer


def demo() -> None:
    """Start an embedded PostgreSQL, load the demo data at the first start, serve, and print how to sign in.

    Example: FIELDWARD_PORT=8080 fieldward demo
    """
    settings = load_settings()
    if not settings.is_embedded:
        refuse("the demo brings its own database: unset FIELDWARD_DATABASE_URL and its kin")
    if settings.is_production:
        refuse("FIELDWARD_MODE: expected development, for a demo: its people's passwords are printed")
    configure_logs(settings.log_format)
    require_startable(settings)
    listening = listen(settings)
    with reach(settings) as reached:
        if reached.owner is not None:
            run(migrate(reached.owner, settings))
        passwords = run(ensure_demo(settings, reached))
        serve_on(
            listening,
            settings,
            reached,
            ready=lambda: print(welcome(settings, passwords), flush=True),
            mailer=ConsoleMailer(),
        )
    print("Stopped.", file=sys.stderr)


async def ensure_demo(settings: Settings, reached: Reach) -> dict[str, str]:
    """Load the demo data unless it is there, and return its passwords, and its program's token by that one's name."""
    kept = settings.data_directory / "demo.json"
    if kept.exists():
        passwords: dict[str, str] = json.loads(kept.read_text())
        return passwords
    loading = settings.data_directory / "demo.loading"
    if loading.exists():
        refuse(f"the demo was interrupted while loading. Remove {settings.data_directory} and start again.", code=1)
    loading.touch()
    passwords = new_passwords()
    async with services(settings, reached.service) as built:
        with Progress(console=Console(stderr=True)) as bar:
            tasks = {
                "people": bar.add_task("People", total=len(PEOPLE)),
                "results": bar.add_task("Water quality results", total=None),
            }
            report = await load_demo(
                built,
                operator(),
                passwords,
                progress=lambda step, done, total: bar.update(tasks[step], completed=done, total=total),
            )
    passwords[PROGRAM] = report.program_token
    _keep(kept, passwords)
    loading.unlink()
    return passwords


def welcome(settings: Settings, passwords: dict[str, str]) -> str:
    """Return what the demo prints: where to go, and a sign-in for each role."""
    base = settings.public_address
    lines = [
        "",
        "Fieldward is ready.",
        "",
        f"  GraphiQL   {base}/graphiql",
        f"  Account    {base}/account",
        f"  API        {base}/graphql",
        "",
    ]
    for slug, name in ORGANIZATIONS.items():
        lines.append(f"  {name} ({slug})")
        for person in PEOPLE:
            if person.organization == slug:
                role = person.project_role or person.role
                lines.append(f"    {role:<10} {person.email:<30} {passwords[person.email]}")
        lines.append("")
    lines += [f"  A program's token, for the first project ({PROGRAM})", f"    {passwords[PROGRAM]}", ""]
    lines.append("Press Ctrl-C to stop. `make demo` again finds the same data.")
    return "\n".join(lines)


def _keep(path: Path, passwords: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(passwords, file)
