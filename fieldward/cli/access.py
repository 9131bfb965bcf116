"""`roles` and `access`: what each role may do, to which field, and why somebody may or may not."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from auth.errors import NotFoundError
from auth.permission import Permission
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES
from fieldward.cli.environment import load_settings, reach, run, services
from fieldward.cli.markdown import lean
from models.data_inventory import OWN, ROLES
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.read import Reader
from schema.access_decision import DecisionSource, decision
from schema.access_matrix import LETTERS, EntryAccess, FieldAccess, entry_access, field_access, structures
from schema.api import build_api

access_app = typer.Typer(help="Who may do what with which field, and why.", no_args_is_help=True)

DENIED = 4
"""The exit code of an answer that is no."""


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
    return _table(rows)


def access_page() -> str:
    """Return `docs/access.md`: every field and role, every entry, every mutation. Ends with a newline."""
    core = build_api()._schema
    fields = field_access(core)
    parts = [_INTRODUCTION]
    parts += [
        f"## {type_name}\n\n{_field_table([row for row in fields if row.type_name == type_name])}"
        for type_name in sorted({row.type_name for row in fields})
    ]
    entries = entry_access(core)
    parts.append("## Entries\n\n" + _entry_table([one for one in entries if not one.is_mutation]))
    parts.append("## Mutations\n\n" + _entry_table([one for one in entries if one.is_mutation]))
    shapes = [["Type", "Fields"], ["---", "---"]]
    shapes += [[name, ", ".join(f"`{one}`" for one in named)] for name, named in structures(core).items()]
    parts.append(f"{_STRUCTURES}\n\n{lean(shapes)}")
    return "\n\n".join(parts) + "\n"


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


@access_app.command("matrix")
def matrix(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    check: Annotated[Path | None, typer.Option(help="Fail unless this file holds the printed page.")] = None,
) -> None:
    """Print who may read, write, filter, order, group and compute with each field of each type.

    Examples:

      fieldward access matrix > docs/access.md

      fieldward access matrix --json | jq '.fields[] | select(.field == "comment")'
    """
    if as_json:
        core = build_api()._schema
        print(
            json.dumps(
                {
                    "letters": LETTERS,
                    "fields": [asdict(one) for one in field_access(core)],
                    "entries": [asdict(one) for one in entry_access(core)],
                    "structures": structures(core),
                }
            )
        )
        return
    page = access_page()
    if check is None:
        print(page, end="")
    elif not check.exists() or check.read_text() != page:
        print(f"fieldward: {check} is not the policy of the code. `make access` prints it.", file=sys.stderr)
        raise typer.Exit(1)


@access_app.command("explain")
def explain(
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    acting: Annotated[str, typer.Option("--as", help="The address of the member in whose name this is asked.")],
    principal: Annotated[
        str, typer.Option(help="Of whom it is asked: a member's address, User:… or ServiceAccount:….")
    ],
    on: Annotated[str, typer.Option(help="The global id of the object, such as Record:….")],
    field: Annotated[str | None, typer.Option(help="The field of the object, as the API names it.")] = None,
    permission: Annotated[
        Permission | None, typer.Option(help="Or a permission, in the scope of the object.", metavar="NOUN:VERB")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Explain why somebody may or may not read a field of an object, or do something with it, at this moment.

    Each line after the first is one thing that has a say: + speaks for it, - against. What the API answers to
    `accessDecision`; no value is read. Who is named by --as needs access:read. Exit code 4 where the answer is no.

    Examples:

      fieldward access explain --organization acme --as ada@acme.example --principal bo@acme.example
      --on Record:0198c0de-0000-7000-8000-000000000001 --field comment

      fieldward access explain --organization acme --as ada@acme.example --principal User:0198c0de-…
      --on Project:0198c0de-… --permission project:update --json
    """

    async def work() -> DecisionSource:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service):
                asker = await member_viewer(organization, email=acting)
                reader = Reader(Tenant(organization_id=asker.organization_id, user_id=asker.user_id))
                try:
                    return await decision(
                        build_api()._schema,
                        reader,
                        asker,
                        principal=await _principal_id(organization, principal),
                        on=on,
                        field=field,
                        permission=permission,
                    )
                finally:
                    await reader.close()

    found = run(work())
    print(json.dumps(decision_fields(found)) if as_json else describe_decision(found))
    if not found.allowed:
        raise typer.Exit(DENIED)


def decision_fields(found: DecisionSource) -> dict[str, Any]:
    """Return the decision as the API answers it."""
    return {
        "allowed": found.allowed,
        "permission": found.permission,
        "scope": found.scope,
        "otherwise": found.otherwise,
        "reasons": [
            {
                "source": str(one.source),
                "gives": one.gives,
                "says": one.says,
                "role": one.role,
                "customRoleId": f"CustomRole:{one.custom_role_id}" if one.custom_role_id else None,
                "expiresAt": one.expires_at.isoformat() if one.expires_at else None,
            }
            for one in found.reasons
        ],
    }


def describe_decision(found: DecisionSource) -> str:
    """Return the decision in words, without a newline at its end."""
    lines = [f"{'allowed' if found.allowed else 'denied'}: {found.permission} in {found.scope}"]
    if found.otherwise is not None:
        lines.append(f"answered in its place: {found.otherwise}")
    for one in found.reasons:
        until = f" (until {one.expires_at:%Y-%m-%d %H:%M} UTC)" if one.expires_at else ""
        lines.append(f"{'+' if one.gives else '-'} {_printable(one.says)}{until}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Return the text on one line and harmless to a terminal: an organization chooses the names of its roles."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


async def _principal_id(organization: str, named: str) -> str:
    """Return the global id of whom is asked about: a member, suspended or not, may be named by their address."""
    if "@" not in named:
        return named
    try:
        viewer = await member_viewer(organization, email=named)
    except NotFoundError:
        viewer = await member_viewer(organization, email=named, active=False)
    return f"User:{viewer.principal_id}"


_INTRODUCTION = f"""# Who may do what

Printed by `fieldward access matrix` from the declarations that the service runs by; `make access` renews it, and a
test holds it to the code. A change of the policy is a change of this page.

A column is what the role itself gives: a role in the organization counts for everything in it, a role in a project for
that project alone, and `{OWN}` is what everyone may do with what is about themselves. Who has several has the union.
Roles of an organization's own are made of the same permissions.

{chr(10).join(f"- **{letter}** {meaning}" for letter, meaning in LETTERS.items())}

A dot is nothing: the value is null with one `FORBIDDEN` for the field, or the row is not there at all. "Takes" is the
permission besides seeing the row. Filters, orders, groups and aggregates find or count a row only where the column may
be read. Who writes a field takes a permission of one of the mutations named, and its reading besides."""

_STRUCTURES = """## Structures

These hold nothing of their own: what they lead to is guarded by itself."""


def _field_table(rows: Sequence[FieldAccess]) -> str:
    cells = [["Field", "Takes", *ROLES, "Written by"], ["---", "---", *(":-:" for _ in ROLES), "---"]]
    cells += [
        [
            f"`{row.field}`",
            f"`{row.permission}`" if row.permission else "",
            *(row.roles[role] or "·" for role in ROLES),
            ", ".join(f"`{name}`" for name in row.written_by),
        ]
        for row in rows
    ]
    return lean(cells)


def _entry_table(rows: Sequence[EntryAccess]) -> str:
    cells = [["Name", "Takes", *ROLES], ["---", "---", *(":-:" for _ in ROLES)]]
    for row in rows:
        takes = " or ".join(f"`{one}`" for one in row.takes) or ("nothing" if row.is_public else "to be signed in")
        cells.append([f"`{row.name}`", takes, *("yes" if role in row.roles else "·" for role in ROLES)])
    return lean(cells)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def _roles() -> Mapping[str, frozenset[Permission]]:
    return {str(role): granted for roles in (ORGANIZATION_ROLES, PROJECT_ROLES) for role, granted in roles.items()}
