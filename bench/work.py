"""The workloads: what is asked, of which rows. How each target is asked is the target's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from bench.dataset import Dataset

PAGES_OF_A_PROJECT: Final = 4
"""So many pages of each project are asked for in turn."""
IDS: Final = 240
"""So many records are asked for by id in turn."""
CREATIONS: Final = 100
"""So many different records are created in turn."""

RECORD_FIELDS: Final = (
    "id",
    "siteCode",
    "siteName",
    "latitude",
    "longitude",
    "collectedAt",
    "medium",
    "activityType",
    "method",
    "status",
    "comment",
    "version",
)
ONE_FIELDS: Final = tuple(name for name in RECORD_FIELDS if name not in {"activityType", "comment"})


class Work(StrEnum):
    """A kind of request."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"


TITLES: Final = {
    Work.A: "page of 100 records, 12 fields, one of them encrypted in Fieldward",
    Work.B: "page of 50 records with project, device and measurements",
    Work.C: "one record by id, 10 fields",
    Work.D: "create one record, audited",
    Work.E: "page of 1,000 records, 12 fields, one of them encrypted in Fieldward",
}
PAGE_SIZES: Final = {Work.A: 100, Work.B: 50, Work.E: 1000}


@dataclass(frozen=True, slots=True)
class PageTask:
    """Page `page` of a project's records, `first` on each, by the time of their collection."""

    project: int
    page: int
    first: int

    def numbers(self, dataset: Dataset) -> range:
        """Return the numbers of the records that the page shows."""
        start = self.page * self.first
        end = min(start + self.first, dataset.records_in(self.project))
        return range(self.project + start * dataset.projects, self.project + end * dataset.projects, dataset.projects)

    def last_before(self, dataset: Dataset) -> int | None:
        """Return the number of the record after which the page begins; None where it is the first."""
        if self.page == 0:
            return None
        return self.project + (self.page * self.first - 1) * dataset.projects

    @property
    def before(self) -> "PageTask":
        """The page before this one."""
        return replace(self, page=self.page - 1)


Task = PageTask | int | dict[str, Any]
"""A page, the number of a record, or what is created."""


def tasks(work: Work, dataset: Dataset) -> Sequence[Task]:
    """Return what a workload asks for in turn."""
    if work is Work.C:
        return record_tasks(dataset)
    if work is Work.D:
        return list(creation_tasks(dataset))
    return page_tasks(work, dataset)


def page_tasks(work: Work, dataset: Dataset) -> list[PageTask]:
    """Return the pages that a workload asks for in turn: of all projects, some of each."""
    first = PAGE_SIZES[work]
    return [
        PageTask(project, page, first)
        for page in range(PAGES_OF_A_PROJECT)
        for project in range(dataset.projects)
        if page == 0 or page * first < dataset.records_in(project)
    ]


def record_tasks(dataset: Dataset) -> list[int]:
    """Return the numbers of the records that are asked for by id in turn."""
    return [i * 397 % dataset.records for i in range(IDS)]


def creation_tasks(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Yield what is created in turn, in Fieldward's words."""
    for i in range(CREATIONS):
        yield {
            "projectId": str(dataset.intake_id),
            "deviceId": str(dataset.device_id(dataset.projects, i)),
            "siteCode": f"NEW-{i:04}",
            "siteName": f"New station {i}",
            "latitude": 43.1 + i / 1000,
            "longitude": -92.2 - i / 1000,
            "collectedAt": (datetime(2024, 6, 1, 10, tzinfo=UTC) + timedelta(minutes=i)).isoformat(),
            "medium": "WATER",
            "activityType": "Sample-Routine",
            "method": "FIELD",
            "comment": f"Sampled from the left bank after two days of rain, duplicate kept, bottle {i}.",
        }
