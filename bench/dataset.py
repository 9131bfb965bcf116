"""The data that every target holds: made from counters, so that it is the same in every run and every answer is known.

Ids are shaped like UUIDv7 and ordered like the rows' times. Record `i` belongs to project `i % projects`, so that the
records of all projects lie mixed on disk, as in a service that takes them in at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

FIRST_TIME: Final = datetime(2020, 1, 1, tzinfo=UTC)
STEP: Final = timedelta(seconds=10)
RECORDS_FOR_A_PROJECT: Final = 1000
"""Fewer records make fewer projects, so that pages are full."""
MOST_PROJECTS: Final = 20
DEVICES_IN_A_PROJECT: Final = 50
MEASUREMENTS_IN_A_RECORD: Final = 3

_SITE, _WEATHER = (
    ("left bank", "right bank", "midstream", "outfall"),
    ("clear sky", "drizzle", "after rain", "overcast"),
)
_MEDIA = ("WATER", "SEDIMENT", "AIR", "SOIL")
_ACTIVITIES = ("Sample-Routine", "Field Msr/Obs", "Quality Control Sample-Field Blank")
_METHODS = ("USGS-NFM", "EPA-1664", "SM-4500", "FIELD")
_STATUSES = ("DRAFT", "SUBMITTED", "APPROVED", "REJECTED")
_PLATFORMS = ("ANDROID", "IOS", "WINDOWS")
_MODELS = ("Pixel 8", "iPhone 15", "Toughpad G2", "XCover 6")
_RESULTS = (("pH", "None"), ("Temperature, water", "deg C"), ("Dissolved oxygen", "mg/l"))

_ORGANIZATION, _PROJECT, _DEVICE, _RECORD, _MEASUREMENT = range(1, 6)


class Project(NamedTuple):
    """A project, in the order of the peers' columns."""

    id: UUID
    organization_id: UUID
    code: str
    name: str
    status: str


class Device(NamedTuple):
    """A device, in the order of the peers' columns."""

    id: UUID
    organization_id: UUID
    platform: str
    model: str


class Record(NamedTuple):
    """A record, in the order of the peers' columns."""

    id: UUID
    organization_id: UUID
    project_id: UUID
    device_id: UUID
    site_code: str
    site_name: str
    latitude: float
    longitude: float
    collected_at: datetime
    medium: str
    activity_type: str
    method: str
    status: str
    comment: str
    version: int


class Measurement(NamedTuple):
    """A measurement, in the order of the peers' columns."""

    id: UUID
    organization_id: UUID
    project_id: UUID
    record_id: UUID
    position: int
    characteristic: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """So many records of one organization. One project more takes what a run creates, so that no page changes."""

    records: int

    @property
    def organization_id(self) -> UUID:
        """The one organization."""
        return _id(_ORGANIZATION, 0)

    @property
    def projects(self) -> int:
        """How many projects have records."""
        return max(1, min(MOST_PROJECTS, self.records // RECORDS_FOR_A_PROJECT))

    @property
    def intake_id(self) -> UUID:
        """The project that takes what a run creates."""
        return _id(_PROJECT, self.projects)

    def records_in(self, project: int) -> int:
        """Return how many records a project has."""
        return (self.records - project + self.projects - 1) // self.projects

    def project_id(self, project: int) -> UUID:
        """Return the id of a project."""
        return _id(_PROJECT, project)

    def device_id(self, project: int, number: int) -> UUID:
        """Return the id of one of a project's devices."""
        return _id(_DEVICE, project * DEVICES_IN_A_PROJECT + number % DEVICES_IN_A_PROJECT)

    def project(self, project: int) -> Project:
        """Return a project; the one after the last is the intake's."""
        is_intake = project == self.projects
        name = "Intake" if is_intake else f"Watershed project {project + 1}"
        return Project(self.project_id(project), self.organization_id, f"P{project + 1:03}", name, "ACTIVE")

    def device(self, number: int) -> Device:
        """Return a device, counted across projects."""
        platform, model = _PLATFORMS[number % len(_PLATFORMS)], _MODELS[number % len(_MODELS)]
        return Device(_id(_DEVICE, number), self.organization_id, platform, model)

    def record(self, i: int) -> Record:
        """Return record `i`."""
        project = i % self.projects
        return Record(
            id=_id(_RECORD, i),
            organization_id=self.organization_id,
            project_id=_id(_PROJECT, project),
            device_id=self.device_id(project, i // self.projects),
            site_code=f"SITE-{i % 400:04}",
            site_name=f"Station {i % 400} of the watershed",
            latitude=round(42 + i * 7919 % 100_000 / 20_000, 5),
            longitude=round(-93 + i * 104_729 % 100_000 / 20_000, 5),
            collected_at=FIRST_TIME + i * STEP,
            medium=_MEDIA[i % len(_MEDIA)],
            activity_type=_ACTIVITIES[i % len(_ACTIVITIES)],
            method=_METHODS[i // 3 % len(_METHODS)],
            status=_STATUSES[i // 5 % len(_STATUSES)],
            comment=f"Sampled from the {_SITE[i % 4]}, {_WEATHER[i // 4 % 4]}, low flow; bottle {i}-{i * 7907 % 9973}.",
            version=1,
        )

    def measurements_of(self, i: int) -> list[Measurement]:
        """Return the measurements of record `i`."""
        project_id, record_id = _id(_PROJECT, i % self.projects), _id(_RECORD, i)
        return [
            Measurement(
                id=_id(_MEASUREMENT, i * MEASUREMENTS_IN_A_RECORD + position),
                organization_id=self.organization_id,
                project_id=project_id,
                record_id=record_id,
                position=position,
                characteristic=characteristic,
                value=(i * 31 + position * 17) % 3000 / 100,
                unit=unit,
            )
            for position, (characteristic, unit) in enumerate(_RESULTS)
        ]

    def all_projects(self) -> list[Project]:
        """Return the projects with records, and the intake."""
        return [self.project(number) for number in range(self.projects + 1)]

    def all_devices(self) -> list[Device]:
        """Return the devices of all projects."""
        return [self.device(number) for number in range((self.projects + 1) * DEVICES_IN_A_PROJECT)]

    def all_records(self) -> Iterator[Record]:
        """Yield the records in their order."""
        return map(self.record, range(self.records))

    def all_measurements(self) -> Iterator[Measurement]:
        """Yield the measurements of all records."""
        return (one for i in range(self.records) for one in self.measurements_of(i))


def _id(kind: int, number: int) -> UUID:
    """Return an id that is a valid UUIDv7: time, version, kind, variant, and bits that look random."""
    scattered = (number * 0x9E3779B97F4A7C15 + kind) & 0x3FFFFFFFFFFFFFFF
    return UUID(int=(1_577_836_800_000 + number) << 80 | 7 << 76 | kind << 64 | 2 << 62 | scattered)
