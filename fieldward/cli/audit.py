"""`audit`: the audit trail, from the command line. Each command has a module of its own."""

import typer

app = typer.Typer(help="The audit trail.", no_args_is_help=True)


@app.callback()
def _audit() -> None:
    """The audit trail."""
