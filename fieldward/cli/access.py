"""`roles`: what each role may do, printed from the one matrix in `auth/role.py`."""

import json
from collections.abc import Mapping
from typing import Annotated

import typer

from auth.permission import Permission
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES


def role_table() -> str:
    """Return the matrix as a Markdown table: a row for each permission, a column for each role.

    Organization roles come first. Ends without a newline.
    """
    granted_by = _roles()
    rows = [["Permission", *granted_by], ["---", *(":-:" for _ in granted_by)]]
    rows += [
        [f"`{permission}`", *("yes" if permission in granted else "" for granted in granted_by.values())]
        for permission in Permission
    ]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def roles(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print what each role may do: organization roles everywhere, project roles in their project.

    Example: fieldward roles --json
    """
    if as_json:
        print(
            json.dumps(
                {
                    "organization": {role: sorted(granted) for role, granted in ORGANIZATION_ROLES.items()},
                    "project": {role: sorted(granted) for role, granted in PROJECT_ROLES.items()},
                }
            )
        )
        return
    print(role_table())


def _roles() -> Mapping[str, frozenset[Permission]]:
    return {str(role): granted for roles in (ORGANIZATION_ROLES, PROJECT_ROLES) for role, granted in roles.items()}
