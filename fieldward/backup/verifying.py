"""Verifying a backup where it lies: each file of it, and each segment that the archive has from its end on."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fieldward.backup.catalogue import Backup
from fieldward.backup.error import DamagedBackupError
from fieldward.backup.line import locked
from fieldward.backup.manifest import read_manifest, verify_files, verify_wal
from fieldward.backup.wal import opened, run_from
from resolvers.key_rotation import Progress


@dataclass(frozen=True, slots=True)
class VerifiedBackup:
    """What was read of a backup. segments: of archived WAL. restorable_until: when the last of them was archived; None
    where none was. findings: what is wrong; each is a sentence."""

    backup: Backup
    segments: int
    restorable_until: datetime | None
    findings: tuple[str, ...]


async def verify_backup(
    bin_directory: Path, backups: Path, backup: Backup, *, progress: Progress = lambda *_: None
) -> VerifiedBackup:
    """Read a backup, and the WAL that takes it further, and say what of it is damaged or missing.

    Raises:
        BackupError: backups are made or deleted there now.
    """
    findings = []
    with locked(backups, shared=True):
        try:
            manifest = read_manifest(backup.files)
            await asyncio.to_thread(verify_files, backup.files, manifest, progress=progress)
            await verify_wal(bin_directory, backup.files, manifest)
        except DamagedBackupError as error:
            findings.append(str(error))
        run = run_from(backup.line, backup.last)
        for number, segment in enumerate(run.segments, 1):
            try:
                for _ in opened(backup.line, segment):
                    pass
            except DamagedBackupError as error:
                findings.append(str(error))
            progress("Reading WAL", number, len(run.segments))
    if run.missing is not None:
        findings.append(
            f"The archive has no segment {run.missing.name}, and some that are newer: nothing after it can be restored."
        )
    return VerifiedBackup(backup, len(run.segments), run.newest_at, tuple(findings))
