"""Making a backup of the embedded database, while it serves: by PostgreSQL's own pg_basebackup, and verified.

It is made aside and gets its name once all of it is on the disk and was read again, so that one that was cut short is
never taken for whole. It holds the WAL that it needs itself; the archive takes it further.

Data and keystore are one cluster here, and a copy of it would hold keys that were destroyed: a row that was changed
stays in its page until that is written anew. So the table of keys is written anew before the copy begins, and no backup
that began after a key was destroyed holds anything of it.
"""

import asyncio
import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from auth.action import Action
from fieldward.backup.catalogue import ABOUT, GOING, UNFINISHED, Backup
from fieldward.backup.error import BackupError
from fieldward.backup.line import Line, lines_of, locked, noted_line, sync_directory, write_whole
from fieldward.backup.manifest import WAL, Manifest, read_manifest, verify_files, verify_wal
from fieldward.backup.program import run_program
from fieldward.backup.wal import Segment, path_of
from fieldward.embedded import EmbeddedPostgres
from models.encryption.keystore import KeyStore, WrappedKey
from models.inventory import entity_of
from models.organization import Organization
from resolvers.change import Change, Intent, commit_change
from resolvers.key_rotation import Progress
from resolvers.row_census import take_census
from resolvers.trail import Actor

ARCHIVED_WITHIN_S: Final = 60.0
"""Seconds after a backup within which the WAL of its end is to be archived."""
_LOCK_WAIT: Final = "30s"


async def create_backup(
    postgres: EmbeddedPostgres,
    store: KeyStore,
    actor: Actor,
    *,
    data_directory: Path,
    backups: Path,
    rate_mib: int | None = None,
    progress: Progress = lambda *_: None,
) -> Backup:
    """Make a backup, and return it once it is whole and the archive goes on from it. The service's own trail says so.

    rate_mib: MiB in a second at the most, so that requests don't feel it.

    Raises:
        BackupError: nothing is archived, another backup is made, or PostgreSQL refuses.
        DamagedBackupError: what was copied is not what was sent; it is removed.
        UnavailableError: a database is away.
    """
    line = noted_line(data_directory, backups)
    if line is None:
        raise BackupError("The database is not archived: start it with FIELDWARD_BACKUP_DIRECTORY.")
    with locked(backups):
        clear_half_made(backups)
        # What is destroyed from here on may be in it.
        began = datetime.now(UTC)
        server = await _prepare(postgres)
        census = await take_census(store, progress=progress)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        made = line.base / f"{name}{UNFINISHED}"
        made.mkdir(mode=0o700)
        try:
            await run_program(
                postgres.bin_directory / "pg_basebackup",
                f"--pgdata={made / 'data'}",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--manifest-checksums=SHA256",
                f"--label=fieldward {name}",
                "--progress",
                *([] if rate_mib is None else [f"--max-rate={rate_mib}M"]),
                endpoint=postgres.superuser(),
                step="Copying, kB",
                progress=progress,
            )
            manifest = read_manifest(made / "data")
            await asyncio.to_thread(verify_files, made / "data", manifest, progress=progress)
            await verify_wal(postgres.bin_directory, made / "data", manifest)
            about = _about(made / "data", manifest, line, name, began, server, census.to_json())
            write_whole(made / ABOUT, about.to_json())
            sync_directory(made)
            made.rename(about.directory)
            sync_directory(line.base)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    await commit_change(Intent(Action.BACKUP_CREATE, actor, entity=entity_of(Organization).name), _nothing_else)
    await _wait_until_archived(line, about.last)
    return about


def clear_half_made(backups: Path) -> None:
    """Remove what was cut short, and what was being deleted. Nobody makes or deletes backups meanwhile."""
    for line in lines_of(backups):
        for left in line.base.iterdir():
            if left.suffix in {UNFINISHED, GOING}:
                _end_what_was_left(left)
                shutil.rmtree(left, ignore_errors=True)


def _end_what_was_left(directory: Path) -> None:
    """End the processes that still copy into a directory although who started them was killed.

    pg_basebackup has a process of its own for WAL, which goes on for good, and the server keeps WAL for it.
    """
    argument = os.fsencode(f"--pgdata={directory / 'data'}")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if argument in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


async def _prepare(postgres: EmbeddedPostgres) -> dict[str, Any]:
    """Write the table of keys anew, and return what the server says of itself."""
    parameters: dict[str, Any] = dict(postgres.superuser("fieldward_keys").dsn_parameters())
    connection = await asyncpg.connect(**parameters, timeout=10)
    try:
        if await connection.fetchval("select count(*) from pg_tablespace") > 2:
            raise BackupError("The database has tablespaces of its own: back it up with a tool that knows of them.")
        await connection.execute(f"set lock_timeout = '{_LOCK_WAIT}'")
        await connection.execute(f'vacuum (full) "{WrappedKey._meta.db_table}"')
        row = await connection.fetchrow(
            "select current_setting('server_version') as version,"
            " pg_size_bytes(current_setting('wal_segment_size')) as segment_bytes"
        )
    finally:
        await connection.close()
    return dict(row)


def _about(
    files: Path,
    manifest: Manifest,
    line: Line,
    name: str,
    began: datetime,
    server: dict[str, Any],
    census: dict[str, Any],
) -> Backup:
    size = int(server["segment_bytes"])
    return Backup(
        id=name,
        line=line,
        started_at=began,
        finished_at=datetime.now(UTC),
        first=Segment.holding(manifest.timeline, manifest.start, size),
        last=Segment.holding(manifest.timeline, manifest.end, size),
        size=sum(size for size, _ in manifest.files.values()) + _size_of(files / WAL),
        postgres=str(server["version"]),
        system_identifier=manifest.system_identifier,
        census=census,
    )


def _size_of(directory: Path) -> int:
    return sum(one.stat().st_size for one in os.scandir(directory) if one.is_file(follow_symlinks=False))


async def _nothing_else(_: Change) -> None:
    """Change no row: that everything was copied is an entry by itself."""


async def _wait_until_archived(line: Line, last: Segment) -> None:
    deadline = time.monotonic() + ARCHIVED_WITHIN_S
    while not path_of(line, last).exists():
        if time.monotonic() > deadline:
            raise BackupError(
                f"The backup is whole, and its WAL is not archived: {last.name} is not in {line.wal}. Look into"
                " postgresql.log of the data directory."
            )
        await asyncio.sleep(0.2)
