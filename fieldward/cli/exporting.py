"""`export`: everything of an organization, for its people to take elsewhere."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
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
                with showing_progress(as_json) as told, _writing(out) as file:
                    return await write_archive(built, actor, file, reason=reason, progress=told)

    rows = run(work())
    if as_json:
        print(json.dumps({"file": str(out), "rows": rows}))
    else:
        print(f"{out}: {rows:,} rows of {organization}")


@contextmanager
def _writing(out: Path) -> Iterator[IO[bytes]]:
    """Yield a file that is at its place, for its owner alone, once it is whole and on the disk; else nothing is."""
    made = out.with_name(f".{out.name}.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        made.rename(out)
    finally:
        made.unlink(missing_ok=True)
