"""The operating system's side of the embedded PostgreSQL: whose processes they are, and what that user may reach.

PostgreSQL refuses to run as root. As root it runs as a system user, which must be able to pass the directories above the
binaries and the data, some of which may be private. That one user gets the right to pass them, by an access control list;
nobody else gets anything.
"""

import errno
import os
import pwd
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER_NAME: Final = "fieldward-db"

_ATTRIBUTE: Final = "system.posix_acl_access"
_HEADER: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
# Tags of acl(5), in the order in which the kernel wants them.
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID: Final = 0xFFFFFFFF
_SEARCH: Final = 1


class AccessError(Exception):
    """The database's user can't be let in. The message says where, and what to do."""


@dataclass(frozen=True, slots=True)
class DatabaseUser:
    """The system user that PostgreSQL runs as."""

    uid: int
    gid: int


def database_user() -> DatabaseUser | None:
    """Return the user to run PostgreSQL as: none of its own for who is not root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(USER_NAME)
    except KeyError:
        subprocess.run(  # noqa: S603  (a fixed command)
            ["/usr/sbin/useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER_NAME],
            check=True,
            capture_output=True,
        )
        entry = pwd.getpwnam(USER_NAME)
    return DatabaseUser(entry.pw_uid, entry.pw_gid)


def let_in(user: DatabaseUser, directory: Path) -> None:
    """Let the user pass every directory from the root to this one, where it can't already.

    Raises:
        AccessError: the file system keeps no access control lists.
    """
    real = directory.resolve()
    for one in (*reversed(real.parents), real):
        if not _can_search(user, one):
            _grant_search(user, one)


def _can_search(user: DatabaseUser, directory: Path) -> bool:
    found = directory.stat()
    if found.st_uid == user.uid:
        return bool(found.st_mode & 0o100)
    if any(tag == _USER and who == user.uid and may & _SEARCH for tag, may, who in _entries(directory)):
        return True
    if found.st_gid == user.gid:
        return bool(found.st_mode & 0o010)
    return bool(found.st_mode & 0o001)


def _grant_search(user: DatabaseUser, directory: Path) -> None:
    mode = directory.stat().st_mode
    entries = {(tag, who): may for tag, may, who in _entries(directory)} or {
        (_USER_OBJ, _NO_ID): mode >> 6 & 7,
        (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
        (_OTHER, _NO_ID): mode & 7,
    }
    entries[_USER, user.uid] = _SEARCH
    # The mask bounds what users and groups by name get; it must leave ours, and widen nobody's.
    entries[_MASK, _NO_ID] = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID]) | _SEARCH
    packed = b"".join(_ENTRY.pack(tag, may, who) for (tag, who), may in sorted(entries.items()))
    try:
        os.setxattr(directory, _ATTRIBUTE, _HEADER + packed)
    except OSError as error:
        raise AccessError(
            f"PostgreSQL's user {USER_NAME} can't pass {directory}, and no access control list can be kept there."
            " Put the project elsewhere, or run it as an ordinary user."
        ) from error


def _entries(directory: Path) -> list[tuple[int, int, int]]:
    try:
        value = os.getxattr(directory, _ATTRIBUTE)
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.EOPNOTSUPP}:
            return []
        raise
    return [_ENTRY.unpack_from(value, offset) for offset in range(len(_HEADER), len(value), _ENTRY.size)]
