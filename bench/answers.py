"""Whether the targets answer the same: every one is held against what the data says, before anything is timed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from bench.dataset import DEVICES_IN_A_PROJECT, Dataset
from bench.targets.base import Row, Target
from bench.work import ONE_FIELDS, RECORD_FIELDS, PageTask, Task, Work, tasks

CHECKED: Final = 6
"""So many requests of each workload are held against the data: the first, the last, and some between."""

_COLUMNS: Final = {"siteCode": "site_code", "siteName": "site_name", "collectedAt": "collected_at"}
_COLUMNS_OF_FIELDS: Final = {name: _COLUMNS.get(name, name) for name in RECORD_FIELDS} | {
    "activityType": "activity_type"
}
_CREATED: Final = tuple(name for name in ONE_FIELDS if name not in {"id", "status", "version"})


class DisagreementError(Exception):
    """A target answers something else than the data holds. The message says which, where and what."""


def require_agreement(target: Target) -> None:
    """Raise `DisagreementError` unless the target answers each workload with the rows and values of the data."""
    for work in Work:
        if work is Work.D:
            _require_creation(target)
        else:
            require_rows(target, work)


def require_rows(target: Target, work: Work) -> None:
    """Raise `DisagreementError` unless the target answers a workload that reads with what the data holds."""
    for task in _some(tasks(work, target.dataset)):
        rows = target.rows(work, target.ask(target.body(work, task)))
        if isinstance(task, PageTask):
            # Who has no other way to say whether more follow, answers one more than was asked for.
            rows = rows[: task.first]
        _require_same(target, work, [_plain(row) for row in rows], _expected(target.dataset, work, task))


def _some(all_tasks: Sequence[Task]) -> list[Task]:
    step = max(1, len(all_tasks) // (CHECKED - 1))
    return [*all_tasks[::step][: CHECKED - 1], all_tasks[-1]]


def _expected(dataset: Dataset, work: Work, task: Task) -> list[Row]:
    if isinstance(task, PageTask):
        show = _nested if work is Work.B else _flat
        return [show(dataset, number, RECORD_FIELDS) for number in task.numbers(dataset)]
    assert isinstance(task, int)
    return [_flat(dataset, task, ONE_FIELDS)]


def _flat(dataset: Dataset, number: int, names: Sequence[str]) -> Row:
    record = dataset.record(number)
    return {name: _plain_value(name, getattr(record, _COLUMNS_OF_FIELDS[name])) for name in names}


def _nested(dataset: Dataset, number: int, _: Sequence[str]) -> Row:
    project, place = number % dataset.projects, number // dataset.projects
    device = project * DEVICES_IN_A_PROJECT + place % DEVICES_IN_A_PROJECT
    return {
        **_flat(dataset, number, ("id", "siteCode", "collectedAt")),
        "project": {"name": dataset.project(project).name},
        "device": {"model": dataset.device(device).model},
        "measurements": [
            {"characteristic": one.characteristic, "value": one.value, "unit": one.unit}
            for one in dataset.measurements_of(number)
        ],
    }


def _require_creation(target: Target) -> None:
    """Create a record, read it back, and look for its row in the target's own trail."""
    task = tasks(Work.D, target.dataset)[-1]
    assert isinstance(task, dict)
    before = _audited(target)
    (created,) = target.rows(Work.D, target.ask(target.body(Work.D, task)))
    if (created["siteCode"], created["status"]) != (task["siteCode"], "DRAFT"):
        raise DisagreementError(f"{target.name} answers a creation with {created}.")
    body = target.body(Work.C, 0)
    # The id stands in the variables of a request for one record, in the target's own form.
    stored, new = str(target.dataset.record(0).id), str(UUID(created["id"]))
    body["variables"] = {"id": body["variables"]["id"].replace(stored, new)}
    (found,) = target.rows(Work.C, target.ask(body))
    _require_same(
        target,
        Work.D,
        [{name: value for name, value in _plain(found).items() if name in _CREATED}],
        [{name: _plain_value(name, task[name]) for name in _CREATED}],
    )
    if _audited(target) <= before:
        raise DisagreementError(f"{target.name} has created a record without a row in {target.audit_table}.")


def _audited(target: Target) -> int:
    async def count() -> int:
        async with target.setting.databases.superuser(target.database) as connection:
            return int(await connection.fetchval(f"select count(*) from {target.audit_table}"))

    return asyncio.run(count())


def _require_same(target: Target, work: Work, answered: list[Row], expected: list[Row]) -> None:
    if len(answered) != len(expected):
        raise DisagreementError(
            f"{target.name} answers {work} with {len(answered)} records, and the data has {len(expected)}."
        )
    for place, (one, other) in enumerate(zip(answered, expected, strict=True)):
        for name in {**other, **one}:
            if one.get(name) != other.get(name):
                raise DisagreementError(
                    f"{target.name} answers {work} with {one.get(name)!r} as {name} of record {place} of the page,"
                    f" and the data has {other.get(name)!r}."
                )


def _plain(row: Row) -> Row:
    return {name: _plain_value(name, value) for name, value in row.items()}


def _plain_value(name: str, value: Any) -> Any:
    if name == "collectedAt":
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    if name == "id":
        return str(value if isinstance(value, UUID) else UUID(value))
    return value
