"""A process that imports a file as the service does: the file is uploaded in pieces, then the job runs batch by batch.

    python -m bench.apps.importing FILE DATABASES

DATABASES is the JSON of how the two databases are reached; the settings come from the environment. What it took is
printed as JSON. It is a process of its own so that its memory is that of an import, and of nothing else.
"""

import asyncio
import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from auth.action import Action
from auth.principal import Viewer
from bench.seed_fieldward import ORGANIZATION
from fieldward.cli.environment import operator, services
from fieldward.database import Databases
from fieldward.settings import Settings
from models.data_import import CHUNK_BYTES, ImportKind
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.change import Change, Intent, commit_change
from resolvers.data_import import NewImport, complete_upload, create_import, start_import
from resolvers.import_file import add_piece
from resolvers.import_running import ImportRunning
from resolvers.trail import Actor

_LOOK_EVERY: Final = 20
"""Batches between two looks at the memory."""


def held_mb() -> float:
    """Return what the process holds of memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def _import(path: Path, size: int, databases: Databases, email: str, project_id: UUID) -> dict[str, Any]:
    looks: list[float] = []
    async with services(Settings(), databases):
        viewer = await member_viewer(ORGANIZATION, email=email)
        actor = Actor(viewer.organization_id, operator().origin, viewer)
        began, before = time.perf_counter(), held_mb()
        import_id = await _uploaded(actor, viewer, path, size, project_id)
        uploaded = time.perf_counter()

        async def start(change: Change) -> UUID:
            return await start_import(change, import_id=import_id, is_dry_run=False)

        await commit_change(Intent(Action.DATA_IMPORT_START, actor), start)
        running, batches = ImportRunning(), 0
        while await running.step():
            batches += 1
            if not batches % _LOOK_EVERY:
                looks.append(held_mb())
        done = time.perf_counter()
        async with OneStatement(Tenant(organization_id=viewer.organization_id)) as connection:
            (row,) = await connection.fetch("select * from data_import where id = $1", import_id)
    return {
        "status": row["status"],
        "rows": row["total_rows"],
        "created": row["created_rows"],
        "upload_s": uploaded - began,
        "import_s": done - uploaded,
        "before_mb": before,
        "looks_mb": looks,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def _uploaded(actor: Actor, viewer: Viewer, path: Path, size: int, project_id: UUID) -> UUID:
    new = NewImport(project_id, ImportKind.WQX_CSV, path.name, size)

    async def create(change: Change) -> UUID:
        return await create_import(change, new=new, largest=2**40)

    import_id = await commit_change(Intent(Action.DATA_IMPORT_CREATE, actor), create)
    start = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            start = await add_piece(viewer, import_id, start=start, piece=piece)
    await complete_upload(replace(actor, viewer=viewer), import_id)
    return import_id


if __name__ == "__main__":
    reached = json.loads(sys.argv[2])
    found = asyncio.run(
        _import(
            Path(sys.argv[1]),
            Path(sys.argv[1]).stat().st_size,
            Databases(main=reached["main"], keystore=reached["keystore"]),
            reached["email"],
            UUID(reached["project"]),
        )
    )
    print(json.dumps(found))
