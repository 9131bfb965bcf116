"""PostGraphile 5: GraphQL compiled to SQL, with row-level security, column grants and an audit trigger."""

import asyncio
from contextlib import ExitStack
from typing import Any, Final

import httpx

from bench.process import Process, free_port, plain_environment
from bench.seed_peers import DATABASE, PEERS, connection_setting
from bench.targets.base import POOL_SIZE, CursorTarget, Row, Setting
from bench.targets.npm import declared_version, install, node
from bench.work import ONE_FIELDS, RECORD_FIELDS, PageTask, Task, Work

ROLE: Final = "bench_web"

# Its own `id` is a global one, and the column's is called `rowId`.
_FLAT: Final = " ".join(RECORD_FIELDS).replace("id ", "rowId ", 1)
_ONE: Final = " ".join(ONE_FIELDS).replace("id ", "rowId ", 1)
_NESTED: Final = (
    "rowId siteCode collectedAt project: projectByProjectId { name } device: deviceByDeviceId { model }"
    " measurements: measurementsByRecordId(orderBy: POSITION_ASC) { nodes { characteristic value unit } }"
)
_PAGE: Final = (
    "query %s($project: UUID!, $first: Int!, $after: Cursor) {"
    " records: allRecords(condition: {projectId: $project}, first: $first, after: $after) {"
    " nodes { %s } pageInfo { hasNextPage endCursor } } }"
)
_DOCUMENTS: Final = {
    Work.A: _PAGE % ("A", _FLAT),
    Work.B: _PAGE % ("B", _NESTED),
    Work.C: f"query C($id: UUID!) {{ record: recordByRowId(rowId: $id) {{ {_ONE} }} }}",
    Work.D: (
        "mutation D($input: CreateRecordInput!) { createRecord(input: $input) { record { rowId siteCode status } } }"
    ),
    Work.E: _PAGE % ("E", _FLAT),
}


class PostgraphileTarget(CursorTarget):
    """PostGraphile over the peers' tables."""

    name = "postgraphile"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._port = 0

    @property
    def version(self) -> str:
        """What it is."""
        return f"PostGraphile {declared_version(self.name)}"

    @property
    def database(self) -> str:
        """The peers' database."""
        return DATABASE

    @property
    def url(self) -> str:
        """Where it takes GraphQL."""
        return f"http://127.0.0.1:{self._port}/graphql"

    @property
    def audit_table(self) -> str:
        """The peers' trail, written by a trigger."""
        return "audit_entry"

    def prepare(self) -> None:
        """Install it, and put its guards on the peers' tables."""
        node(self.setting.directory)
        install(self.name, self.setting.directory)
        asyncio.run(self._guard())

    def launch(self, stack: ExitStack) -> None:
        """Start the server process."""
        self._port = free_port()
        environment = plain_environment(
            NODE_ENV="production",
            BENCH_DATABASE=connection_setting(self.setting.databases, ROLE, DATABASE),
            BENCH_POOL_SIZE=str(POOL_SIZE),
            BENCH_ORGANIZATION=str(self.dataset.organization_id),
            BENCH_PORT=str(self._port),
        )
        folder = install(self.name, self.setting.directory)
        command = [str(node(self.setting.directory)), "server.mjs"]
        log = self.setting.directory / f"{self.name}.log"
        process = stack.enter_context(
            Process.start(self.name, command, log=log, environment=environment, directory=folder)
        )
        process.wait_until(self._answers)
        self.pids = [process.pid]

    def body(self, work: Work, task: Task) -> dict[str, Any]:
        """Return the request for one task."""
        if isinstance(task, PageTask):
            return self.page_body(work, task, self.after(work, task))
        variables: dict[str, Any]
        if isinstance(task, int):
            variables = {"id": str(self.dataset.record(task).id)}
        else:
            variables = {"input": {"record": {**task, "organizationId": str(self.dataset.organization_id)}}}
        return {"query": _DOCUMENTS[work], "operationName": work.value, "variables": variables}

    def page_body(self, work: Work, task: PageTask, after: str | None) -> dict[str, Any]:
        """Return the request for a page."""
        variables = {"project": str(self.dataset.project_id(task.project)), "first": task.first, "after": after}
        return {"query": _DOCUMENTS[work], "operationName": work.value, "variables": variables}

    def rows(self, work: Work, data: Any) -> list[Row]:
        """Return the records of an answer, in Fieldward's words."""
        if work is Work.C:
            found = [data["record"]]
        elif work is Work.D:
            found = [data["createRecord"]["record"]]
        else:
            found = data["records"]["nodes"]
        return [_renamed(row) for row in found]

    async def _guard(self) -> None:
        databases = self.setting.databases
        await databases.create_role(ROLE, "noinherit")
        async with databases.superuser(DATABASE) as connection:
            await connection.execute((PEERS / self.name / "guards.sql").read_text())

    def _answers(self) -> bool:
        try:
            self.ask(self.body(Work.C, 0))
        except httpx.TransportError:
            return False
        return True


def _renamed(row: Row) -> Row:
    named = {"id": row["rowId"], **{name: value for name, value in row.items() if name != "rowId"}}
    if "measurements" in named:
        named["measurements"] = named["measurements"]["nodes"]
    return named
