"""The files of an archive: what its manifest says, and the lines of each table, a batch at a time.

Whatever a file unpacks to, no more of it is in memory than a batch.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from models.errors import InvalidInputError
from models.inventory import Entity
from resolvers.archive import ARCHIVE_VERSION, MANIFEST

BATCH: Final = 500
"""Rows that are written in one change."""
BATCH_BYTES: Final = 8 * 1024 * 1024
"""Bytes after which a batch is full, however few rows it has."""
LONGEST_LINE: Final = 32 * 1024 * 1024
"""Bytes of the longest row."""
LARGEST_MANIFEST: Final = 4 * 1024 * 1024

_NO_ARCHIVE: Final = "This is no archive of an organization."
_KINDS: Final = (("file", str), ("rows", int), ("sha256", str), ("left_out", dict))
"""What the manifest says of a table."""
_PACKED: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""How files of an archive are packed. Other ways take as much memory to unpack as whoever packed them says."""
_BROKEN: Final = (KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What is raised of a zip that lacks a file, is damaged, or is locked by a password."""


def manifest_of(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """Return what the manifest says.

    Raises:
        InvalidInputError: there is none, or it is of a version that is not known.
    """
    try:
        _require_packed(archive, MANIFEST)
        with archive.open(MANIFEST) as file:
            content = file.read(LARGEST_MANIFEST + 1)
        if len(content) > LARGEST_MANIFEST:
            raise InvalidInputError(_NO_ARCHIVE)
        manifest: Mapping[str, Any] = orjson.loads(content)
        version, tables = manifest["archive_version"], manifest["tables"]
        is_one = all(isinstance(said[name], kind) for said in tables.values() for name, kind in _KINDS)
    except (*_BROKEN, TypeError, AttributeError, orjson.JSONDecodeError) as error:
        raise InvalidInputError(_NO_ARCHIVE) from error
    if version != ARCHIVE_VERSION:
        raise InvalidInputError(f"Expected an archive of version {ARCHIVE_VERSION}.")
    if not is_one:
        raise InvalidInputError(_NO_ARCHIVE)
    return manifest


def batches_of(archive: zipfile.ZipFile, entity: Entity, name: str) -> Iterator[list[bytes]]:
    """Yield the lines of a table's file, at least one at a time: `BATCH` of them, or fewer that are long.

    Raises:
        InvalidInputError: the file is missing or broken, or one of its lines is too long.
    """
    batch: list[bytes] = []
    held = 0
    for line in _lines(archive, entity, name):
        batch.append(line)
        held += len(line)
        if len(batch) == BATCH or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _lines(archive: zipfile.ZipFile, entity: Entity, name: str) -> Iterator[bytes]:
    try:
        _require_packed(archive, name)
        with archive.open(name) as file:
            while line := file.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise InvalidInputError(f"The archive's file of {entity.name} has a row that is too long.")
                yield line
    except _BROKEN as error:
        raise InvalidInputError(f"The archive's file of {entity.name} is missing or broken.") from error


def _require_packed(archive: zipfile.ZipFile, name: str) -> None:
    if archive.getinfo(name).compress_type not in _PACKED:
        raise InvalidInputError("Expected an archive that is packed by deflate.")
