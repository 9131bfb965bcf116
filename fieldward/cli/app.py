"""The command line: `fieldward --help`."""

import sys

import typer

from auth.errors import Code, FieldwardError
from fieldward.cli import demo, importing, inventory, people, serving
from fieldward.database import DatabaseUrlError

EXAMPLES = """
Guarded, encrypted, audited environmental field data over GraphQL.

Examples:

  fieldward demo                                   the service with demo data, to try it out

  fieldward migrate && fieldward serve             the service

  fieldward organization create acme "Acme Water"  a tenant, with its first owner asked for

  fieldward import wqx-csv results.csv --organization acme --project WELLS --as owner@acme.example

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 some of an import's rows were rejected.
"""

app = typer.Typer(help=EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.command("serve")(serving.serve)
app.command("migrate")(serving.migrate_command)
app.command("demo")(demo.demo)
app.command("schema")(inventory.schema)
app.command("inventory")(inventory.inventory)
app.add_typer(importing.app, name="import")
app.add_typer(people.organization_app, name="organization")
app.add_typer(people.user_app, name="user")


def run() -> None:
    """Run the command; say in one line what was wrong where something was."""
    try:
        app(prog_name="fieldward")
    except (FieldwardError, DatabaseUrlError) as error:
        field = ".".join(str(part) for part in getattr(error, "field", ()))
        message = f"{field}: {error}" if field else str(error)
        print(f"fieldward: {message}", file=sys.stderr)
        code = getattr(error, "code", Code.INVALID_INPUT)
        sys.exit(2 if code is Code.INVALID_INPUT else 1)
