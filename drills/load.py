"""Readers and writers that go on for as long as a drill lasts, and hold every answer against what it must be."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import httpx
import orjson

from bench.dataset import Dataset
from bench.targets.fieldward import FieldwardTarget
from bench.work import PAGE_SIZES, Work, page_tasks

READERS: Final = 2
WRITERS: Final = 2
COLLECTORS: Final = 7
"""Names in whose turn the writers collect."""

UPDATE: Final = """
mutation U($input: UpdateRecordInput!) { updateRecord(input: $input) {
  record { id comment collector version } errors { code message } } }
"""
CREATE: Final = """
mutation D($input: CreateRecordInput!) { createRecord(input: $input) {
  record { id comment collector version } errors { code message } } }
"""


@dataclass
class Counts:
    """What was asked and answered. `failures` says of each answer that was not as it must be what it was."""

    read: int = 0
    values: int = 0
    created: int = 0
    updated: int = 0
    failures: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """The readers and writers over one server."""

    def __init__(self, target: FieldwardTarget) -> None:
        self._target = target
        self._dataset: Dataset = target.dataset
        self._stop = threading.Event()
        self._token_lock = threading.Lock()
        self.counts = Counts()

    @contextmanager
    def running(self) -> Iterator[Counts]:
        """Have them read and write while the block runs."""
        work = [self._read] * READERS + [self._write] * WRITERS
        threads = [threading.Thread(target=self._keep, args=(one, place)) for place, one in enumerate(work)]
        for thread in threads:
            thread.start()
        try:
            yield self.counts
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _keep(self, work: Any, place: int) -> None:
        with httpx.Client(timeout=60) as http:
            try:
                work(http, place)
            except Exception as error:
                self._fail(f"a thread ended: {error!r}")

    def _read(self, http: httpx.Client, place: int) -> None:
        pages = [one for one in page_tasks(Work.A, self._dataset) if one.page == 0]
        turn = place
        while not self._stop.is_set():
            page = pages[turn % len(pages)]
            turn += 1
            data = self._ask(http, self._target.page_body(Work.A, page, None))
            if data is None:
                continue
            shown = {UUID(row["id"]): row["comment"] for row in self._target.rows(Work.A, data)}
            expected = {record.id: record.comment for record in map(self._dataset.record, page.numbers(self._dataset))}
            if shown != expected:
                wrong = sum(shown.get(key) != value for key, value in expected.items())
                self._fail(f"{wrong} of {PAGE_SIZES[Work.A]} comments of a page are not what they were")
            with self.counts.lock:
                self.counts.read += 1
                self.counts.values += len(shown)

    def _write(self, http: httpx.Client, place: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            said = {"comment": f"Writer {place}, record {turn}", "collector": f"Collector {turn % COLLECTORS}"}
            new = {
                "projectId": f"Project:{self._dataset.intake_id}",
                "siteCode": f"DRILL-{place}",
                "collectedAt": "2026-01-05T10:00:00Z",
                "medium": "WATER",
                **said,
            }
            made = self._change(http, "createRecord", CREATE, new, said)
            if made is None:
                continue
            with self.counts.lock:
                self.counts.created += 1
            again = {"comment": f"Writer {place}, record {turn}, again", "collector": f"Collector {place}"}
            given = {"id": made["id"], "expectedVersion": made["version"], **again}
            if self._change(http, "updateRecord", UPDATE, given, again) is not None:
                with self.counts.lock:
                    self.counts.updated += 1

    def _change(
        self, http: httpx.Client, name: str, text: str, given: Mapping[str, Any], said: Mapping[str, str]
    ) -> dict[str, Any] | None:
        data = self._ask(http, {"query": text, "variables": {"input": given}})
        if data is None:
            return None
        record: dict[str, Any] | None = data[name]["record"]
        if data[name]["errors"] or record is None:
            self._fail(f"{name}: {data[name]['errors']}")
            return None
        if any(record[key] != value for key, value in said.items()):
            self._fail(f"{name} answers otherwise than it was told")
        return record

    def _ask(self, http: httpx.Client, body: Mapping[str, Any]) -> Any:
        with self._token_lock:
            headers = self._target.headers()
        began = time.monotonic()
        try:
            response = http.post(
                self._target.url, content=orjson.dumps(body), headers={"content-type": "application/json", **headers}
            )
            answer = orjson.loads(response.content)
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            self._fail(f"no answer: {type(error).__name__}")
            return None
        with self.counts.lock:
            self.counts.took_s.append(time.monotonic() - began)
        if response.status_code != 200 or answer.get("errors"):
            self._fail(f"answered {response.status_code}: {str(answer.get('errors'))[:300]}")
            return None
        return answer["data"]

    def _fail(self, what: str) -> None:
        with self.counts.lock:
            self.counts.failures.append(what)
