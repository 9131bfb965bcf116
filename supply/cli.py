"""`python -m supply`: the bill of materials, the licences, the known vulnerabilities."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from supply.audit import audit
from supply.licence import licences, page

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("sbom")
def print_sbom() -> None:
    """Print the bill of materials of what is served, as CycloneDX in JSON."""
    from supply.sbom import sbom  # Of the other commands none wants what it takes.

    sys.stdout.write(sbom())


@app.command("licences")
def print_licences(
    check: Annotated[Path | None, typer.Option(help="Compare with a page, and end with 1 if it is another.")] = None,
) -> None:
    """Print the licences of what is served with; end with 1 where one is not among those that are taken."""
    told = licences()
    refused = [one for one in told if not one.is_allowed]
    for one in refused:
        print(f"{one.package.name} {one.package.version}: {one.licence or 'unknown'} is not taken", file=sys.stderr)
    if check is None:
        sys.stdout.write(page(told))
    elif check.read_text() != page(told):
        print(f"{check} is not what `python -m supply licences` prints.", file=sys.stderr)
        raise typer.Exit(1)
    if refused:
        raise typer.Exit(1)


@app.command("audit")
def run_audit() -> None:
    """Ask what is known of everything that is locked; where nobody can be asked, say NOT CHECKED and end with 0."""
    raise typer.Exit(audit())
