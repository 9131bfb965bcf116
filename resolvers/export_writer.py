"""What a format of exports is: how records become the bytes of a file, piece by piece, so that memory stays flat.

A writer is given values as the one who exports may read them, masked where a query would mask them, and null where it
would be null. It knows nothing of guards, and decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ExportedSite:
    """A site that records of the export were made at, as it may be read: `resolvers/export_site.py` finds them.

    name, kind, description: None where nothing is said of them. latitude, longitude: WGS 84 degrees, of the centre of
        its cell where `is_coarse`; None where the place is not known.
    """

    project_id: UUID
    code: str
    name: str | None = None
    kind: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    is_coarse: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ExportHead:
    """What is said of a whole export, before its first record.

    columns: of records and of measurements, the names of the columns that are in it, in their order.
    author: the name of who exports, as they may read it; None where it is a program.
    projects: code and name of each project that is in it, by its id.
    organization_slug: the organization's short name; empty where a format has no use for it.
    sites: those that its records were made at, for formats that name them before the first record.
    """

    organization_name: str
    made_at: datetime
    author: str | None
    record_columns: Sequence[str]
    measurement_columns: Sequence[str]
    projects: Mapping[UUID, tuple[str, str]]
    organization_slug: str = ""
    sites: Sequence[ExportedSite] = ()


@dataclass(frozen=True, slots=True)
class ExportedRecord:
    """A record by column, and its measurements in their order, as they may be read.

    weight: about how many bytes it takes where it stands beside each of its measurements.
    """

    values: Mapping[str, Any]
    measurements: Sequence[Mapping[str, Any]]
    weight: int = 0


class ExportWriter(Protocol):
    """Makes a file of one format. `begin` comes once, then `records` for each batch, then `end` once.

    names_places: whether the head tells it of the sites of its records, and of the projects of those alone.
    """

    media_type: ClassVar[str]
    ending: ClassVar[str]
    names_places: ClassVar[bool]

    def begin(self, head: ExportHead) -> bytes:
        """Return what comes before the first record."""

    def records(self, batch: Sequence[ExportedRecord]) -> bytes:
        """Return the bytes of a batch; empty where they are held back for a later one."""

    def end(self) -> bytes:
        """Return what comes after the last record."""
