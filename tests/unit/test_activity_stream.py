"""Files of any order in batches: every row once, the same records whatever the order, and bounded while it goes."""

import io
import random
from collections.abc import Callable
from itertools import islice
from typing import TextIO

import pytest

from resolvers import activity_stream
from resolvers.activity_stream import Batch, look_through, read_batches
from resolvers.csv_layout import CsvLayout
from resolvers.csv_mapping import CsvMapping, ImportField, MappedColumn, ResultColumn
from resolvers.wqx_layout import LEGACY
from tests.support.wqx import PROJECT, a_file, a_row


def opened(text: io.StringIO) -> Callable[[], TextIO]:
    def again() -> TextIO:
        text.seek(0)
        return text

    return again


def batches(text: io.StringIO, *, from_batch: int = 0) -> list[Batch]:
    survey = look_through(opened(text)(), LEGACY)
    return list(read_batches(opened(text), LEGACY, survey, PROJECT, from_batch=from_batch))


def rows(activities: int, results: int) -> list[dict[str, str]]:
    return [
        a_row(ACTIVITY=f"A-{activity}", CHARACTERISTIC=f"C-{result}")
        for activity in range(activities)
        for result in range(results)
    ]


def test_scattered_rows_come_to_the_same_records_as_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_stream, "MOST_HELD", 50)
    ordered = rows(60, 5)
    shuffled = ordered.copy()
    random.Random(7).shuffle(shuffled)  # noqa: S311  (a test's)

    straight = [record for batch in batches(a_file(*ordered)) for record in batch.records]
    scattered = [record for batch in batches(a_file(*shuffled)) for record in batch.records]

    assert look_through(a_file(*shuffled), LEGACY).readings == 6
    assert {one.id for one in straight} == {one.id for one in scattered}
    assert len(scattered) == 60
    assert {m.id for one in straight for m in one.measurements} == {m.id for one in scattered for m in one.measurements}


def test_only_activities_in_several_places_are_held() -> None:
    given = [*rows(3, 2), a_row(ACTIVITY="A-0", CHARACTERISTIC="C-9")]

    survey = look_through(a_file(*given), LEGACY)

    assert (survey.rows, len(survey.scattered), survey.readings) == (7, 1, 1)
    records = [record for batch in batches(a_file(*given)) for record in batch.records]
    assert sorted(len(one.measurements) for one in records) == [2, 2, 3]


def test_long_rows_make_small_batches_and_more_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_stream, "MOST_WEIGHT", 200_000)
    monkeypatch.setattr(activity_stream, "MOST_WEIGHT_HELD", 200_000)
    long = [{**one, "ResultCommentText": "é" * 9_000} for one in rows(60, 2)]
    together, scattered = a_file(*long), a_file(*long[::2], *long[1::2])

    sizes = [len(batch.records) for batch in batches(together)]
    readings = look_through(scattered, LEGACY).readings
    ids = {record.id for batch in batches(scattered) for record in batch.records}

    # Some 11 kB a row, two of them a record.
    assert set(sizes[:-1]) == {9}
    assert sum(sizes) == 60
    assert readings == 8
    assert ids == {record.id for batch in batches(together) for record in batch.records}


def test_a_row_weighs_as_much_as_all_results_that_are_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_stream, "MOST_WEIGHT", 100_000)
    names = [f"r{number}" for number in range(50)]
    layout = CsvLayout(
        CsvMapping(
            columns=[MappedColumn("site", ImportField.SITE_CODE), MappedColumn("day", ImportField.DATE)],
            results=[ResultColumn(name, name) for name in names],
        )
    )
    lines = [",".join(["site", "day", *names]), *(f"S{row},2024-01-02" + ",7" * 50 for row in range(10))]
    text = io.StringIO("\n".join(lines), newline="")

    found = list(read_batches(opened(text), layout, look_through(opened(text)(), layout), PROJECT))

    assert [len(batch.records) for batch in found] == [1] * 10


def test_a_batch_s_number_says_where_to_go_on() -> None:
    text = a_file(*rows(1_200, 1))
    whole = batches(text)

    rest = batches(text, from_batch=1)

    assert [batch.number for batch in whole] == [0, 1, 2]
    assert [batch.number for batch in rest] == [1, 2]
    assert [record.id for record in rest[0].records] == [record.id for record in whole[1].records]


def test_every_row_is_in_one_batch_once() -> None:
    bad = a_row(ACTIVITY="")
    blank = dict.fromkeys(a_row(), "")
    given = list(islice((one for pair in zip(rows(700, 2), [bad, blank] * 700, strict=True) for one in pair), 2_800))

    found = batches(a_file(*given))

    lines = [m.line for batch in found for record in batch.records for m in record.measurements]
    lines += [one.line for batch in found for one in batch.rejections]
    lines += [line for batch in found for line in batch.blank]
    assert sorted(lines) == list(range(2, 2_802))


def test_an_activity_with_more_results_than_a_record_shows_is_rejected_as_a_whole() -> None:
    found = batches(a_file(*rows(1, 501), a_row(ACTIVITY="B")))

    assert [record.source_key for batch in found for record in batch.records] == ["STF_WQX/B"]
    rejections = [one for batch in found for one in batch.rejections]
    assert len(rejections) == 501
    assert {one.reason for one in rejections} == {"is of an activity with more than 500 results"}


def test_a_reading_that_is_called_off_ends() -> None:
    def stop(_rows: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        look_through(a_file(*rows(1_000, 1)), LEGACY, tick=stop)
