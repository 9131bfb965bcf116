"""Barman, which copies and restores a PostgreSQL that is not ours to run: asked by its own command, in JSON.

What Barman does by itself, every minute and by its own settings, is left to it: the WAL, and what is deleted when. Of
what is ours beside a backup, a census of the rows is kept by its hook (`deploy/backup/before-backup`).

Standard: the manual of Barman 3.19, "Commands".
"""

import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fieldward.backup.error import BackupError

SERVER: Final = re.compile(r"(?!all\Z)[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
"""What Barman may call a server here: nothing that its command would take for an option, or for all that there are."""
PLAIN: Final = re.compile(r"/[A-Za-z0-9_./-]*\Z")
"""A directory that Barman restores into: it hands its path to a shell as it is."""
CENSUSES: Final = "census-*.json"
"""The files that its hook keeps, one beside each backup."""
LONGEST_WAIT_S: Final = 3600
"""Seconds that a backup waits for the last of its WAL."""

_WHOLE: Final = "DONE"
_ERRORS: Final = ("_ERROR", "_EXCEPTION")
_WARNINGS: Final = ("warnings", "missing_files", "changes")
# What a hook kept back leaves behind: nothing is wrong with any other.
_NO_MATTER: Final = frozenset({"failed_backups"})
_SECRETS: Final = ("FIELDWARD_", "VAULT_", "AWS_")
_LAST: Final = 3


@dataclass(frozen=True, slots=True)
class BarmanBackup:
    """A backup of Barman's. finished_at: when it ended, rounded up to a second; None where it did not."""

    id: str
    status: str
    finished_at: datetime | None = None
    size: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it can be restored: copied, with all the WAL that it needs."""
        return self.status == _WHOLE and self.finished_at is not None

    def to_json(self) -> dict[str, Any]:
        """Return it as a program reads it."""
        return {
            "id": self.id,
            "status": self.status,
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
            "bytes": self.size,
        }


class Barman:
    """What Barman calls a server, and how it is asked. command: of the shell, to which Barman's arguments are added."""

    def __init__(self, command: str, server: str) -> None:
        if not SERVER.match(server):
            raise BackupError("Expected the name of a server of Barman's, as in the brackets of its settings.")
        self._command = shlex.split(command)
        self.server = server

    async def create(self) -> BarmanBackup:
        """Make a backup, and wait for the WAL that it needs.

        Raises:
            BackupError: Barman made none; so does each of these.
        """
        said = await self._ask("backup", "--wait", f"--wait-timeout={LONGEST_WAIT_S}", self.server)
        if "backup_id" not in said:
            raise BackupError(
                f"Barman made no backup of {self.server}: {_told(said, '_INFO') or 'it does not say why'}."
            )
        return await self.backup(str(said["backup_id"]))

    async def backups(self) -> list[BarmanBackup]:
        """Return the backups that there are, the oldest first."""
        listed = self._own(await self._ask("list-backups", self.server))
        return sorted((_backup(one) for one in listed), key=lambda one: one.id)

    async def backup(self, name: str) -> BarmanBackup:
        """Return a backup by its id."""
        for one in await self.backups():
            if one.id == name:
                return one
        raise BackupError(f"Barman has no backup of {self.server} named {name}.")

    async def newest(self) -> BarmanBackup:
        """Return the newest backup that is whole."""
        whole = [one for one in await self.backups() if one.is_whole]
        if not whole:
            raise BackupError(f"Barman has no backup of {self.server} that is whole.")
        return whole[-1]

    async def backup_before(self, moment: datetime) -> BarmanBackup:
        """Return the newest backup that is whole and ended before a moment."""
        whole = [one for one in await self.backups() if one.is_whole]
        for one in reversed(whole):
            if one.finished_at is not None and one.finished_at <= moment:
                return one
        since = f" The first ends at {whole[0].finished_at}." if whole else ""
        raise BackupError(f"Barman has no backup of {self.server} from before {moment.isoformat()}.{since}")

    async def findings(self) -> list[str]:
        """Return what Barman finds wrong with the server: what streams to it, its slot, its disk, the backups' age."""
        checks: Mapping[str, Mapping[str, str]] = self._own(await self._ask("check", self.server, may_fail=True))
        return [
            f"{self.server}: {name.replace('_', ' ')}: {one.get('hint') or 'failed'}"
            for name, one in checks.items()
            if one["status"] != "OK" and name not in _NO_MATTER
        ]

    async def verify(self, backup: BarmanBackup) -> list[str]:
        """Return what is wrong with the files of a backup, each of which is read (pg_verifybackup)."""
        if not backup.is_whole:
            return [f"{backup.id}: it is not whole: {backup.status}"]
        try:
            await self._ask("verify-backup", self.server, backup.id)
        except BackupError as error:
            return [f"{backup.id}: {error}"]
        return []

    async def system_id(self, backup: BarmanBackup) -> str:
        """Return what PostgreSQL calls the cluster that a backup is of, on all its servers and for good."""
        return str(self._own(await self._ask("show-backup", self.server, backup.id))["system_id"])

    async def restore(self, backup: BarmanBackup, into: Path, *, to: datetime | None, ssh: str | None) -> list[str]:
        """Copy a backup and its WAL into a directory, from which PostgreSQL replays it to a moment, or to the end, by
        the line of the newest primary; return what Barman wants looked at.

        ssh: the command that reaches the machine on which the directory is, as `ssh postgres@db1`.
        """
        # What was streamed and is not in the archive yet.
        await self._ask("archive-wal", self.server)
        target = ["--target-tli=latest", "--target-action=promote"]
        if to is not None:
            target.append(f"--target-time={to.isoformat()}")
        if ssh is not None:
            target.append(f"--remote-ssh-command={ssh}")
        said = await self._ask(
            *("restore", "--no-get-wal", "--partial-wal", *target, self.server, backup.id, str(into))
        )
        return [f"{name.replace('_', ' ')}: {one}" for name in _WARNINGS for one in said.get(name) or ()]

    def _own(self, said: Mapping[str, Any]) -> Any:
        """Return what an answer says of the server."""
        if self.server not in said:
            raise BackupError(f"Barman says nothing of {self.server}: {_told(said, '_INFO') or 'is it inactive?'}")
        return said[self.server]

    async def _ask(self, verb: str, *arguments: str, may_fail: bool = False) -> dict[str, Any]:
        """Return what Barman answers. may_fail: also where it ends with another code than 0."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *("-f", "json", verb, *arguments),
                env=environment_of_others(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise BackupError(
                f"FIELDWARD_BARMAN_COMMAND: {self._command[0]} can't be run: {error.strerror}."
            ) from error
        with ending(process):
            out, err = await process.communicate()
        said: dict[str, Any] = {}
        if out.strip():
            try:
                said = json.loads(out)
            except ValueError as error:
                raise BackupError(f"barman {verb} did not answer in JSON.") from error
        if process.returncode != 0 and not (may_fail and said):
            lines = [line for line in err.decode(errors="replace").splitlines() if line.strip()]
            told = _told(said, *_ERRORS) or "; ".join(lines[-_LAST:]) or f"it ended with {process.returncode}"
            raise BackupError(f"barman {verb} failed: {told}")
        return said


def environment_of_others() -> dict[str, str]:
    """Return the environment for a program that is not ours: without the service's secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}


@contextmanager
def ending(process: asyncio.subprocess.Process) -> Iterator[None]:
    """Where the block is left before a program has ended, end it, as far as it may be ended by us."""
    try:
        yield
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                process.terminate()


def census_of(kept: Path, backup: BarmanBackup) -> Path | None:
    """Return the census that the hook kept beside a backup; None where there is none."""
    path = kept / CENSUSES.replace("*", backup.id)
    return path if path.is_file() else None


def _backup(listed: Mapping[str, Any]) -> BarmanBackup:
    ended = listed.get("end_time_timestamp")
    size = listed.get("size_bytes")
    return BarmanBackup(
        id=str(listed["backup_id"]),
        status=str(listed["status"]),
        finished_at=None if ended is None else datetime.fromtimestamp(int(ended), UTC) + timedelta(seconds=1),
        size=None if size is None else int(size),
    )


def _told(said: Mapping[str, Any], *names: str) -> str:
    return "; ".join(str(line) for name in names for line in said.get(name, ())[-_LAST:])
