"""`schema` and `inventory`: what the code says of itself, printed."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from models.inventory import entities
from schema.api import build_api


def schema(
    check: Annotated[Path | None, typer.Option(help="Fail unless this file holds the printed schema.")] = None,
) -> None:
    """Print the GraphQL schema, with the guard of each field.

    Example: fieldward schema --check schema/schema.graphql
    """
    printed = build_api().as_str() + "\n"
    if check is None:
        print(printed, end="")
    elif not check.exists() or check.read_text() != printed:
        print(f"fieldward: {check} is not the schema of the code. `make schema` prints it.", file=sys.stderr)
        raise typer.Exit(1)


def inventory(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print the data inventory: every stored column, its classification, and what follows from it.

    Example: fieldward inventory --json
    """
    rows = [
        {
            "table": column.entity,
            "column": column.name,
            "classification": str(column.classification),
            "guard": str(column.guard) if column.guard else None,
            "encrypted": column.is_sealed,
            "reads_logged": column.is_logged,
            "in_api": column.is_in_api,
        }
        for entity in entities()
        for column in entity.columns.values()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        flags = [name for name in ("encrypted", "reads_logged") if row[name]]
        print(
            f"{row['table']}.{row['column']:<24} {row['classification']:<13} {row['guard'] or '-':<28}"
            f" {', '.join(flags)}"
        )
