"""The manifest of a base backup, as PostgreSQL writes it: every file with its size and SHA-256, and the WAL it needs.

It is verified here, and not by pg_verifybackup, which the wheel has and which does not start there (18).
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fieldward.backup.error import BackupError, DamagedBackupError
from fieldward.backup.program import run_program
from resolvers.key_rotation import Progress

MANIFEST: Final = "backup_manifest"
WAL: Final = "pg_wal"
_ITS_SUM: Final = b'"Manifest-Checksum"'


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. files: size and SHA-256 of each, by its path. start, end: of the WAL, on one timeline."""

    system_identifier: str
    files: Mapping[str, tuple[int, str]]
    timeline: int
    start: str
    end: str


def read_manifest(files: Path) -> Manifest:
    """Return the manifest of a base backup.

    Raises:
        DamagedBackupError: there is none, or it is not what PostgreSQL wrote.
    """
    path = files / MANIFEST
    try:
        content = path.read_bytes()
        said: dict[str, Any] = json.loads(content)
        if hashlib.sha256(content[: content.rindex(_ITS_SUM)]).hexdigest() != said["Manifest-Checksum"]:
            raise ValueError("its checksum is another")
        ranges = said["WAL-Ranges"]
        return Manifest(
            system_identifier=str(said["System-Identifier"]),
            files=dict(map(_file, said["Files"])),
            timeline=int(ranges[-1]["Timeline"]),
            start=str(ranges[0]["Start-LSN"]),
            end=str(ranges[-1]["End-LSN"]),
        )
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedBackupError(f"The manifest {path} is damaged or not there.") from error


async def verify_wal(bin_directory: Path, files: Path, manifest: Manifest) -> None:
    """Read the WAL that a base backup holds. Raises `DamagedBackupError` if some of it is damaged or missing."""
    try:
        await run_program(
            bin_directory / "pg_waldump",
            "--quiet",
            f"--path={files / WAL}",
            f"--timeline={manifest.timeline}",
            f"--start={manifest.start}",
            f"--end={manifest.end}",
        )
    except BackupError as error:
        raise DamagedBackupError(f"The WAL of the base backup in {files} is damaged: {error}") from error


def verify_files(files: Path, manifest: Manifest, *, progress: Progress = lambda *_: None) -> None:
    """Hold the files of a base backup against its manifest.

    Raises:
        DamagedBackupError: one is missing, too many, or not what it was; the message names it.
    """
    total = sum(size for size, _ in manifest.files.values())
    done = 0
    for name, (size, digest) in sorted(manifest.files.items()):
        path = files / name
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
                found_size, found = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DamagedBackupError(f"The file {path} of the backup can't be read: {error.strerror}.") from error
        if found_size != size:
            raise DamagedBackupError(f"The file {path} of the backup has {found_size:,} bytes in place of {size:,}.")
        if found != digest:
            raise DamagedBackupError(f"The file {path} of the backup is damaged: it is not what was copied.")
        done += size
        progress("Reading, kB", done // 1024, total // 1024)
    for name in _there(files):
        if name not in manifest.files and name != MANIFEST and not name.startswith(f"{WAL}/"):
            raise DamagedBackupError(f"The file {files / name} is no part of the backup.")


def _file(said: Mapping[str, Any]) -> tuple[str, tuple[int, str]]:
    if said["Checksum-Algorithm"] != "SHA256":
        raise ValueError("another checksum")
    name = said["Path"] if "Path" in said else bytes.fromhex(said["Encoded-Path"]).decode()
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("a path that leads elsewhere")
    return name, (int(said["Size"]), str(said["Checksum"]))


def _there(files: Path) -> Iterator[str]:
    for parent, directories, names in os.walk(files):
        # A link to a directory is no directory of the backup.
        links = [name for name in directories if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            yield Path(parent, name).relative_to(files).as_posix()
