"""An outside place: where signed heads are laid down, so that whoever rules over the database does not rule over them.

A file of a directory, an object of a bucket, or what a webhook makes of it: one for each log, named by its origin, and
each holds the newest checkpoint. That the earlier ones stay is for the place: a bucket with versions and object lock, a
directory that somebody else copies.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from models.errors import UnavailableError
from models.outside.http import post, require_address

LONGEST: Final = 128 * 1024
"""Bytes of a checkpoint with its signatures; more is not read."""

_ORIGIN: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class Place(Protocol):
    """Where checkpoints are laid down."""

    is_readable: bool
    """Whether what was laid down can be read back."""

    async def put(self, checkpoints: Mapping[str, str]) -> None:
        """Lay down the newest checkpoint of each log, by its origin. Raises `UnavailableError` if one could not be."""

    async def read(self, origin: str) -> str | None:
        """Return what was laid down of a log; None if nothing was. Raises `UnavailableError` if that can't be said."""


class FilePlace:
    """A directory. Each file is replaced as a whole, and on the disk before it is said to be."""

    is_readable = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, checkpoints: Mapping[str, str]) -> None:
        """Write the files."""
        try:
            for origin, checkpoint in checkpoints.items():
                _replace(self._path(origin), checkpoint.encode())
        except OSError as error:
            raise UnavailableError("The directory of published heads can't be written.") from error

    async def read(self, origin: str) -> str | None:
        """Return a file's content."""
        path = self._path(origin)
        try:
            # A directory that is not there is one that is not mounted, and not one in which nothing was published.
            if not self._directory.is_dir():
                raise NotADirectoryError
            with path.open("rb") as file:
                return file.read(LONGEST).decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError("The directory of published heads can't be read.") from error

    def _path(self, origin: str) -> Path:
        require_origin(origin)
        return self._directory / f"{origin}.checkpoint"


class WebhookPlace:
    """A URL to which each checkpoint is posted, as text. It proves itself by its signatures, and is not read back."""

    is_readable = False

    def __init__(self, url: str) -> None:
        self._url = url

    async def put(self, checkpoints: Mapping[str, str]) -> None:
        """Post them, one after the other."""
        for checkpoint in checkpoints.values():
            answer = await post(self._url, checkpoint.encode())
            if not 200 <= answer.status < 300:
                raise UnavailableError(f"The webhook answered {answer.status}.")

    async def read(self, origin: str) -> str | None:  # noqa: ARG002  (as every place)
        """Return nothing: nobody can say."""
        return None


def require_origin(origin: str) -> None:
    """Require that an origin can name a file; raises `ValueError` otherwise."""
    if _ORIGIN.fullmatch(origin) is None or any(part in {".", ".."} for part in origin.split("/")):
        raise ValueError("Expected an origin of letters, digits, dots, dashes and slashes.")


def require_place(url: str) -> str:
    """Return the URL of a place; raises `ValueError` saying what was expected if it is none."""
    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            if parts.netloc or not parts.path.startswith("/"):
                raise ValueError("Expected file:///… with the path of a directory.")
        case "s3":
            if not parts.netloc:
                raise ValueError("Expected s3://bucket/prefix.")
        case "http" | "https":
            require_address(url)
        case _:
            raise ValueError("Expected a URL that begins with file://, s3:// or https://.")
    return url


def directory_of(url: str) -> Path:
    """Return the directory that a file URL names."""
    return Path(unquote(urlsplit(url).path))


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coming = path.with_name(f".{path.name}.{os.getpid()}")
    with coming.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    coming.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
