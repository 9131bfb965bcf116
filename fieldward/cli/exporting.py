"""`export`: everything of an organization, for its people to take elsewhere."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.cli.written_file import writing
from resolvers.account import member_viewer
from resolvers.archive_writing import write_archive
from resolvers.trail import Actor

app = typer.Typer(help="Data to take elsewhere.", no_args_is_help=True)


@app.callback()
def _export() -> None:
    """Data to take elsewhere."""


@app.command("organization")
def organization(
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    acting: Annotated[str, typer.Option("--as", help="The address of the member in whose name it is.")],
    out: Annotated[Path, typer.Option(help="The file to write; it must not be there.", dir_okay=False)],
    reason: Annotated[str | None, typer.Option(help="Why, for the trail.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write an archive of everything of an organization, as a member may read it: a zip of JSON Lines.

    What it holds is in the clear: the file is its owner's alone to read, and is to be kept so.

    Example: fieldward export organization --organization acme --as ada@acme.example --out acme.zip
    """
    if out.exists():
        refuse(f"{out} is there already", code=1)

    async def work() -> int:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                viewer = await member_viewer(organization, email=acting)
                actor = Actor(viewer.organization_id, operator().origin, viewer)
                with showing_progress(as_json) as told, writing(out) as file:
                    return await write_archive(built, actor, file, reason=reason, progress=told)

    rows = run(work())
    if as_json:
        print(json.dumps({"file": str(out), "rows": rows}))
    else:
        print(f"{out}: {rows:,} rows of {organization}")
