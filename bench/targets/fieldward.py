"""Fieldward as an operator runs it: `python -m fieldward serve`, with authorization, encryption, read log and audit."""

import asyncio
import sys
import time
import tomllib
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote

import httpx

from bench.process import ROOT, Process, free_port, plain_environment
from bench.seed_fieldward import ORGANIZATION, Person, seed_fieldward
from bench.targets.base import POOL_SIZE, CursorTarget, Row, Setting
from bench.work import ONE_FIELDS, RECORD_FIELDS, PageTask, Task, Work
from fieldward.embedded import Endpoint
from fieldward.settings import Settings

_PAGE: Final = (
    "query %s($project: ID!, $first: Int!, $after: String) {"
    " records(filter: {projectId: {eq: $project}}, first: $first, after: $after) {"
    " nodes { %s } pageInfo { hasNextPage endCursor } } }"
)
_NESTED: Final = "id siteCode collectedAt project { name } device { model } measurements { characteristic value unit }"
DOCUMENTS: Final = {
    Work.A: _PAGE % ("A", " ".join(RECORD_FIELDS)),
    Work.B: _PAGE % ("B", _NESTED),
    Work.C: f"query C($id: ID!) {{ record(id: $id) {{ {' '.join(ONE_FIELDS)} }} }}",
    Work.D: (
        "mutation D($input: CreateRecordInput!) { createRecord(input: $input) {"
        " record { id siteCode status } errors { code message } } }"
    ),
    Work.E: _PAGE % ("E", " ".join(RECORD_FIELDS)),
}
SIGN_IN: Final = "mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken errors { message } } }"
_TOKEN_GOOD_FOR_S: Final = 60
"""A token lasts five minutes; one that is taken for a window has at least four left."""


class FieldwardTarget(CursorTarget):
    """Fieldward, with a database of its own made by its migrations."""

    name = "fieldward"
    command: tuple[str, ...] = ("fieldward", "serve")
    """The module that is run, and its arguments."""

    def __init__(self, setting: Setting, *, with_measurements: bool = True) -> None:
        super().__init__(setting)
        self._with_measurements = with_measurements
        self._person: Person | None = None
        self._token = ("", 0.0)
        self.ports: list[int] = []

    @property
    def version(self) -> str:
        """What it is."""
        with (ROOT / "pyproject.toml").open("rb") as file:
            return f"Fieldward {tomllib.load(file)['project']['version']}"

    @property
    def database(self) -> str:
        """The name of its database, which says its size."""
        return f"fieldward_{self.dataset.records}"

    @property
    def url(self) -> str:
        """Where the first process takes GraphQL."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """Where each of its processes takes GraphQL."""
        return [f"http://127.0.0.1:{port}/graphql" for port in self.ports]

    @property
    def audit_table(self) -> str:
        """The trail's changes."""
        return "change"

    def prepare(self) -> None:
        """Migrate and fill the database."""
        settings = Settings(data_directory=self.setting.directory / "fieldward", pool_size=POOL_SIZE)
        self._person = asyncio.run(
            seed_fieldward(
                self.setting.databases,
                self.database,
                self.dataset,
                settings,
                with_measurements=self._with_measurements,
            )
        )

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of its processes, and of commands beside them."""
        postgres = self.setting.databases.postgres
        return plain_environment(
            FIELDWARD_DATA_DIRECTORY=str(self.setting.directory / "fieldward"),
            FIELDWARD_DATABASE_URL=_url(postgres.service(self.database)),
            FIELDWARD_KEYSTORE_URL=_url(postgres.service("fieldward_keys")),
            FIELDWARD_POOL_SIZE=str(POOL_SIZE),
            **more,
        )

    def launch(self, stack: ExitStack) -> None:
        """Start one server process; again for another beside it."""
        port = free_port()
        log = self.setting.directory / f"{self.database}-{len(self.ports)}.log"
        process = stack.enter_context(
            Process.start(
                self.name,
                [sys.executable, "-m", *self.command],
                log=log,
                environment=self.environment(FIELDWARD_PORT=str(port)),
                directory=ROOT,
            )
        )
        process.wait_until(lambda: _is_ready(port))
        self.pids.append(process.pid)
        self.ports.append(port)
        stack.callback(self._forget, process.pid, port)

    def headers(self) -> dict[str, str]:
        """Return the bearer token of a sign-in, which is made anew once a minute."""
        token, taken_at = self._token
        if not token or time.monotonic() - taken_at > _TOKEN_GOOD_FOR_S:
            assert self._person is not None
            given = {
                "email": self._person.email,
                "password": self._person.password,
                "organization": ORGANIZATION,
            }
            data = self.ask({"query": SIGN_IN, "variables": {"input": given}}, headers={})
            token = data["signIn"]["accessToken"]
            self._token = token, time.monotonic()
        return {"authorization": f"Bearer {token}"}

    def body(self, work: Work, task: Task) -> dict[str, Any]:
        """Return the request for one task."""
        if isinstance(task, PageTask):
            return self.page_body(work, task, self.after(work, task))
        variables: dict[str, Any]
        if isinstance(task, int):
            variables = {"id": f"Record:{self.dataset.record(task).id}"}
        else:
            ids = {"projectId": f"Project:{task['projectId']}", "deviceId": f"Device:{task['deviceId']}"}
            variables = {"input": {**task, **ids}}
        return {"query": DOCUMENTS[work], "operationName": work.value, "variables": variables}

    def page_body(self, work: Work, task: PageTask, after: str | None) -> dict[str, Any]:
        """Return the request for a page."""
        project = f"Project:{self.dataset.project_id(task.project)}"
        variables = {"project": project, "first": task.first, "after": after}
        return {"query": DOCUMENTS[work], "operationName": work.value, "variables": variables}

    def rows(self, work: Work, data: Any) -> list[Row]:
        """Return the records of an answer, with ids as the database has them."""
        if work is Work.C:
            found = [data["record"]]
        elif work is Work.D:
            assert data["createRecord"]["errors"] == [], data
            found = [data["createRecord"]["record"]]
        else:
            found = data["records"]["nodes"]
        return [{**row, "id": row["id"].removeprefix("Record:")} for row in found]

    def _forget(self, pid: int, port: int) -> None:
        self.pids.remove(pid)
        self.ports.remove(port)


def _url(endpoint: Endpoint) -> str:
    return f"postgres://{endpoint.user}:{quote(endpoint.password)}@/{endpoint.database}?host={quote(endpoint.host)}"


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
