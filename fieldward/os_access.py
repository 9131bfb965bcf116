"""The operating system's side of the embedded PostgreSQL: who owns it, as whom it runs, and what that user may reach.

PostgreSQL refuses to run as root. As root it runs as a system user, which must be able to pass the directories above
the binaries and the data, some of which may be private. That one user gets the right to pass them, by an entry in
their access control list (POSIX 1003.1e, acl(5)); what everybody else may do stays exactly as it was.
"""

import errno
import fcntl
import os
import pwd
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER_NAME: Final = "fieldward-db"

_ATTRIBUTE: Final = "system.posix_acl_access"
# linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id, little-endian.
_HEADER: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
# The tags, in the order in which the kernel wants the entries.
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID: Final = 0xFFFFFFFF
_READ: Final = 4
_SEARCH: Final = 1

_AccessList = dict[tuple[int, int], int]
"""What each (tag, id) may do: read 4, write 2, execute or search 1."""


class AccessError(Exception):
    """The database's user can't be had, or can't be let in. The message says where, and what to do."""


class InUseError(AccessError):
    """Another process has the directory."""


@dataclass(frozen=True, slots=True)
class DatabaseUser:
    """The system user that PostgreSQL runs as."""

    uid: int
    gid: int


def database_user() -> DatabaseUser | None:
    """Return the user to run PostgreSQL as, made where it is missing: none of its own for who is not root.

    Raises:
        AccessError: this system makes no users.
    """
    if os.geteuid() != 0:
        return None
    found = _user_named(USER_NAME)
    if found is None:
        problem = _make_user(USER_NAME)
        # Another start may have made the user in the meantime.
        found = _user_named(USER_NAME)
        if found is None:
            raise AccessError(
                f"PostgreSQL does not run as root, and its own user {USER_NAME} can't be made: {problem}."
                " Make that system user, or start the service as an ordinary user."
            )
    return found


def let_in(user: DatabaseUser, directory: Path) -> None:
    """Let the user pass every directory from the root to this one, where it can't already.

    Raises:
        AccessError: the file system keeps no access control lists.
    """
    real = directory.resolve()
    for one in (*reversed(real.parents), real):
        _let(user, one, _SEARCH)


def let_read(user: DatabaseUser, directory: Path) -> None:
    """Let the user read what is in a directory, and run what its owner may run, where it can't already.

    For programs that were installed under a narrow umask: then the directory itself is closed, too.

    Raises:
        AccessError: the file system keeps no access control lists.
    """
    found = directory.stat()
    if _allowed(user, _access_list(directory, found.st_mode), found) & _READ:
        return
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                _let(user, path, _READ | (_SEARCH if mode & stat.S_IXUSR else 0))
    # Last, so that a walk that was cut short is walked again.
    _let(user, directory, _READ | _SEARCH)


def closed_to_others(path: Path, *, to_write_alone: bool = False) -> bool:
    """Return whether nobody but its owner, root and the database's user may do anything with a file or a directory.

    to_write_alone: whether its group may read it, as the group of those who renew certificates and serve with them.

    The database's user may pass a directory, and is in its access control list then, whose mask is shown as the mode of
    the group.
    """
    found = path.stat()
    let_in_user = _user_named(USER_NAME)
    if found.st_uid not in {0, os.geteuid(), *([let_in_user.uid] if let_in_user is not None else [])}:
        return False
    for (tag, who), may in _access_list(path, found.st_mode).items():
        if tag in {_USER_OBJ, _MASK}:
            continue
        if tag == _USER and let_in_user is not None and who == let_in_user.uid:
            may &= ~_SEARCH
        if tag == _GROUP_OBJ and to_write_alone:
            may &= ~_READ
        if may:
            return False
    return True


def take_lock(path: Path) -> int:
    """Take the lock that says who owns a directory, for as long as the returned descriptor is open.

    Raises:
        InUseError: another process has it; the message says which.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise AccessError(f"{path} can't be locked: {error.strerror}.") from error
        raise InUseError(
            f"{path.parent} is in use by {f'process {holder}' if holder else 'another process'}. Stop that one first,"
            " or choose another directory by FIELDWARD_DATA_DIRECTORY."
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def is_alive(pid: int) -> bool:
    """Whether there is such a process, whosoever it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def is_server_of(pid: int, data_directory: Path) -> bool:
    """Whether the process is the server of this data: after a crash its number may be another program's."""
    if not Path("/proc/self/cmdline").exists():
        return is_alive(pid)
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(data_directory) in arguments


def _user_named(name: str) -> DatabaseUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return DatabaseUser(entry.pw_uid, entry.pw_gid)


def _make_user(name: str) -> str:
    """Make a system user without a home or a shell; return what went wrong, for a person."""
    command = ["/usr/sbin/useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    try:
        done = subprocess.run([*command, name], check=False, capture_output=True, text=True)  # noqa: S603  (fixed)
    except OSError as error:
        return str(error)
    return done.stderr.strip()


def _let(user: DatabaseUser, path: Path, wanted: int) -> None:
    found = path.stat()
    entries = _access_list(path, found.st_mode)
    allowed = _allowed(user, entries, found)
    if allowed & wanted == wanted:
        return
    widened = _with_user(entries, user, allowed | wanted)
    packed = b"".join(_ENTRY.pack(tag, may, who) for (tag, who), may in sorted(widened.items()))
    try:
        os.setxattr(path, _ATTRIBUTE, _HEADER + packed)
    except OSError as error:
        raise AccessError(
            f"PostgreSQL's user {USER_NAME} can't reach {path}, and can't be let in there by an access control list"
            f" ({error.strerror}). Put the project and its data below directories that this user can pass, or start"
            " the service as an ordinary user."
        ) from error


def _access_list(path: Path, mode: int) -> _AccessList:
    """Return the access control list of a file; what its mode bits say where it has none."""
    try:
        value = os.getxattr(path, _ATTRIBUTE)
    except OSError as error:
        if error.errno not in {errno.ENODATA, errno.EOPNOTSUPP}:
            raise
        return {(_USER_OBJ, _NO_ID): mode >> 6 & 7, (_GROUP_OBJ, _NO_ID): mode >> 3 & 7, (_OTHER, _NO_ID): mode & 7}
    return {(tag, who): may for tag, may, who in _ENTRY.iter_unpack(value[len(_HEADER) :])}


def _allowed(user: DatabaseUser, entries: _AccessList, found: os.stat_result) -> int:
    """Return what the user may do, by the algorithm of acl(5): the first class that fits decides."""
    if found.st_uid == user.uid:
        return entries[_USER_OBJ, _NO_ID]
    mask = entries.get((_MASK, _NO_ID), 7)
    if (_USER, user.uid) in entries:
        return entries[_USER, user.uid] & mask
    of_groups = [may for (tag, who), may in entries.items() if (tag, who) == (_GROUP, user.gid)]
    if found.st_gid == user.gid:
        of_groups.append(entries[_GROUP_OBJ, _NO_ID])
    if of_groups:
        return max(of_groups) & mask
    return entries[_OTHER, _NO_ID]


def _with_user(entries: _AccessList, user: DatabaseUser, ours: int) -> _AccessList:
    """Return the list with these rights of the user, and nobody else's effective rights changed."""
    mask = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID])
    # The mask bounds users and groups by name. What it held back must stay so when it grows.
    narrowed = {
        (tag, who): may & mask if tag in {_USER, _GROUP_OBJ, _GROUP} else may for (tag, who), may in entries.items()
    }
    return {**narrowed, (_USER, user.uid): ours, (_MASK, _NO_ID): mask | ours}
