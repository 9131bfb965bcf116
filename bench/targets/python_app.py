"""The two targets that are Python applications of ours over the peers' tables: `limit` and `plain`."""

import sys
from contextlib import ExitStack
from typing import Any, Final

import httpx

from bench.process import ROOT, Process, free_port, plain_environment
from bench.seed_peers import DATABASE, OWNER, connection_setting
from bench.targets.base import POOL_SIZE, Row, Setting, Target
from bench.work import ONE_FIELDS, RECORD_FIELDS, PageTask, Task, Work


class PythonAppTarget(Target):
    """An ASGI application of `bench/apps`, served by uvicorn as Fieldward is. The peers' database is filled already."""

    path: str

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._port = 0

    @property
    def version(self) -> str:
        """Nothing but what the report says of Python's packages anyway."""
        return ""

    @property
    def database(self) -> str:
        """The peers' database."""
        return DATABASE

    @property
    def url(self) -> str:
        """Where it takes requests."""
        return f"http://127.0.0.1:{self._port}{self.path}"

    @property
    def audit_table(self) -> str:
        """The peers' trail."""
        return "audit_entry"

    def prepare(self) -> None:
        """Nothing to do: the tables are the peers' own."""

    def launch(self, stack: ExitStack) -> None:
        """Start the server process."""
        self._port = free_port()
        command = [
            *(sys.executable, "-m", "uvicorn", f"bench.apps.{self.name}:application"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--log-level", "warning", "--no-access-log", "--no-server-header"),
        ]
        environment = plain_environment(
            BENCH_DATABASE=connection_setting(self.setting.databases, OWNER, DATABASE), BENCH_POOL_SIZE=str(POOL_SIZE)
        )
        log = self.setting.directory / f"{self.name}.log"
        process = stack.enter_context(
            Process.start(self.name, command, log=log, environment=environment, directory=ROOT)
        )
        process.wait_until(self._answers)
        self.pids = [process.pid]

    def body(self, work: Work, task: Task) -> dict[str, Any]:
        """Return the request for one task."""
        variables: dict[str, Any]
        if isinstance(task, PageTask):
            last = task.last_before(self.dataset)
            after = None if last is None else str(self.dataset.record(last).id)
            project = str(self.dataset.project_id(task.project))
            variables = {"project": project, "first": task.first, "after": after}
        elif isinstance(task, int):
            variables = {"id": str(self.dataset.record(task).id)}
        else:
            variables = {"input": task}
        return {"operationName": work.value, "variables": variables}

    def rows(self, work: Work, data: Any) -> list[Row]:
        """Return the records of an answer."""
        if work is Work.C:
            return [data["record"]]
        if work is Work.D:
            return [data["createRecord"]["record"]]
        found: list[Row] = data["records"]["nodes"]
        return found

    def _answers(self) -> bool:
        try:
            self.ask(self.body(Work.C, 0))
        except httpx.TransportError:
            return False
        return True


class LimitTarget(PythonAppTarget):
    """PostgreSQL makes the JSON, and nobody looks at it."""

    name = "limit"
    path = "/"


_PAGE: Final = (
    "query %s($project: UUID!, $first: Int!, $after: UUID) {"
    " records(project: $project, first: $first, after: $after) {"
    " nodes { %s } pageInfo { hasNextPage endCursor } } }"
)
_NESTED: Final = "id siteCode collectedAt project { name } device { model } measurements { characteristic value unit }"
_DOCUMENTS: Final = {
    Work.A: _PAGE % ("A", " ".join(RECORD_FIELDS)),
    Work.B: _PAGE % ("B", _NESTED),
    Work.C: f"query C($id: UUID!) {{ record(id: $id) {{ {' '.join(ONE_FIELDS)} }} }}",
    Work.D: "mutation D($input: RecordInput!) { createRecord(input: $input) { record { id siteCode status } } }",
    Work.E: _PAGE % ("E", " ".join(RECORD_FIELDS)),
}


class PlainTarget(PythonAppTarget):
    """strawberry over Tortoise, as it is usually written."""

    name = "plain"
    path = "/graphql"

    def body(self, work: Work, task: Task) -> dict[str, Any]:
        """Return the request for one task."""
        return {"query": _DOCUMENTS[work], **super().body(work, task)}
