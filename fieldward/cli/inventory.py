"""`schema` and `inventory`: what the code says of itself, printed."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldward.cli.inventory_page import inventory_page
from models.data_inventory import DataTable, data_inventory
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
    check: Annotated[Path | None, typer.Option(help="Fail unless this file holds the printed page.")] = None,
) -> None:
    """Print the data inventory: what is stored, how it is protected, who may read it, how long it is kept.

    What the API answers to `dataInventory`; it needs no database.

    Examples:

      fieldward inventory > docs/data-inventory.md

      fieldward inventory --json | jq '.[].columns[] | select(.storage == "ENCRYPTED")'
    """
    if as_json:
        print(json.dumps([table_fields(one) for one in data_inventory()]))
        return
    page = inventory_page()
    if check is None:
        print(page, end="")
    elif not check.exists() or check.read_text() != page:
        print(f"fieldward: {check} is not the inventory of the code. `make inventory` prints it.", file=sys.stderr)
        raise typer.Exit(1)


def table_fields(table: DataTable) -> dict[str, Any]:
    """Return a table of the inventory as the API answers it; its permissions by their own names, as in the page."""
    fields: dict[str, Any] = _named(asdict(table))
    return fields


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(name): _named(one) for name, one in value.items()}
    return [_named(one) for one in value] if isinstance(value, tuple | list) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))
