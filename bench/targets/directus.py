"""Directus 12: GraphQL over any tables, with roles, permissions and an activity log in the application.

Without a licence it refuses row filters and field lists in permissions, so its viewer may read and create whole
collections: Directus is measured without the row and field checks of the others. It pages by offset or by what a filter
says; the pages here are asked for by a filter on the time, one record more than is shown, as it has no connections.
"""

import asyncio
import json
import secrets
from contextlib import ExitStack
from typing import Any, Final

import httpx

from bench.dataset import FIRST_TIME, STEP
from bench.process import Process, ProcessError, free_port, plain_environment
from bench.seed_peers import DATABASE as PEERS_DATABASE
from bench.seed_peers import OWNER
from bench.targets.base import POOL_SIZE, RefusedError, Row, Setting, Target, UnavailableTargetError
from bench.targets.npm import declared_version, install, node
from bench.work import ONE_FIELDS, RECORD_FIELDS, PageTask, Task, Work

DATABASE: Final = "bench_directus"
BOOTSTRAP_TIMEOUT_S: Final = 300

_COLUMNS: Final = {
    "siteCode": "site_code",
    "siteName": "site_name",
    "collectedAt": "collected_at",
    "activityType": "activity_type",
    "projectId": "project_id",
    "deviceId": "device_id",
}
_FIELDS: Final = {column: name for name, column in _COLUMNS.items()}
_NESTED: Final = (
    "id site_code collected_at project_id { name } device_id { model }"
    ' measurements(sort: ["position"]) { characteristic value unit }'
)
_PAGE: Final = (
    "query %s($project: ID!, $first: Int!, $after: String!) {"
    " record(filter: {_and: [{project_id: {id: {_eq: $project}}}, {collected_at: {_gt: $after}}]},"
    ' sort: ["collected_at"], limit: $first) { %s } }'
)


def _columns(names: tuple[str, ...]) -> str:
    return " ".join(_COLUMNS.get(name, name) for name in names)


_DOCUMENTS: Final = {
    Work.A: _PAGE % ("A", _columns(RECORD_FIELDS)),
    Work.B: _PAGE % ("B", _NESTED),
    Work.C: f"query C($id: ID!) {{ record_by_id(id: $id) {{ {_columns(ONE_FIELDS)} }} }}",
    Work.D: "mutation D($input: create_record_input!) { create_record_item(data: $input) { id site_code status } }",
    Work.E: _PAGE % ("E", _columns(RECORD_FIELDS)),
}
_COLLECTIONS: Final = ("organization", "project", "device", "record", "measurement")


class DirectusTarget(Target):
    """Directus over its own copy of the peers' database, to which it adds its tables."""

    name = "directus"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._port = 0
        self._admin, self._viewer = secrets.token_hex(16), secrets.token_hex(16)
        self._secrets = {"SECRET": secrets.token_hex(32), "ADMIN_PASSWORD": secrets.token_hex(16)}

    @property
    def version(self) -> str:
        """What it is."""
        return f"Directus {declared_version(self.name)}"

    @property
    def database(self) -> str:
        """Its own copy."""
        return DATABASE

    @property
    def url(self) -> str:
        """Where it takes GraphQL."""
        return f"http://127.0.0.1:{self._port}/graphql"

    @property
    def audit_table(self) -> str:
        """Its own log of who did what."""
        return "directus_activity"

    def headers(self) -> dict[str, str]:
        """Return the viewer's token."""
        return {"authorization": f"Bearer {self._viewer}"}

    def prepare(self) -> None:
        """Install it, copy the peers' database, and have it make its tables there."""
        binary, folder = node(self.setting.directory), install(self.name, self.setting.directory)
        asyncio.run(self.setting.databases.create_database(DATABASE, OWNER, template=PEERS_DATABASE))
        log = self.setting.directory / f"{self.name}-bootstrap.log"
        command = [str(binary), "node_modules/directus/cli.js", "bootstrap"]
        with Process.start(
            "directus bootstrap", command, log=log, environment=self._environment(), directory=folder
        ) as process:
            try:
                process.wait(BOOTSTRAP_TIMEOUT_S)
            except ProcessError as error:
                raise UnavailableTargetError(str(error)) from error

    def launch(self, stack: ExitStack) -> None:
        """Start the server process, and tell it of the tables and the viewer."""
        self._port = free_port()
        folder = install(self.name, self.setting.directory)
        command = [str(node(self.setting.directory)), "node_modules/directus/cli.js", "start"]
        log = self.setting.directory / f"{self.name}.log"
        process = stack.enter_context(
            Process.start(self.name, command, log=log, environment=self._environment(), directory=folder)
        )
        process.wait_until(self._is_up)
        self._introduce()
        asyncio.run(self.setting.databases.settle(DATABASE))
        self.pids = [process.pid]

    def body(self, work: Work, task: Task) -> dict[str, Any]:
        """Return the request for one task."""
        variables: dict[str, Any]
        if isinstance(task, PageTask):
            last = task.last_before(self.dataset)
            after = FIRST_TIME - STEP if last is None else self.dataset.record(last).collected_at
            project = str(self.dataset.project_id(task.project))
            variables = {"project": project, "first": task.first + 1, "after": after.isoformat()}
        elif isinstance(task, int):
            variables = {"id": str(self.dataset.record(task).id)}
        else:
            given = {_COLUMNS.get(name, name): value for name, value in task.items()}
            variables = {"input": {**given, "organization_id": str(self.dataset.organization_id)}}
        return {"query": _DOCUMENTS[work], "operationName": work.value, "variables": variables}

    def rows(self, work: Work, data: Any) -> list[Row]:
        """Return the records of an answer, in Fieldward's words; of a page, one more than was asked for."""
        if work is Work.C:
            found = [data["record_by_id"]]
        elif work is Work.D:
            found = [data["create_record_item"]]
        else:
            found = data["record"]
        return [_renamed(row) for row in found]

    def _environment(self) -> dict[str, str]:
        endpoint = self.setting.databases.endpoint(OWNER, DATABASE)
        return plain_environment(
            NODE_ENV="production",
            HOST="127.0.0.1",
            PORT=str(self._port),
            PUBLIC_URL=f"http://127.0.0.1:{self._port}",
            DB_CLIENT="pg",
            DB_HOST=endpoint.host,
            DB_PORT=str(endpoint.port),
            DB_DATABASE=DATABASE,
            DB_USER=endpoint.user,
            DB_PASSWORD=endpoint.password,
            DB_POOL__MIN="0",
            DB_POOL__MAX=str(POOL_SIZE),
            ADMIN_EMAIL="admin@example.com",
            ADMIN_TOKEN=self._admin,
            TELEMETRY="false",
            RATE_LIMITER_ENABLED="false",
            # It would turn requests away when the machine is busy.
            PRESSURE_LIMITER_ENABLED="false",
            CACHE_ENABLED="false",
            LOG_LEVEL="warn",
            QUERY_LIMIT_MAX="-1",
            **self._secrets,
        )

    def _is_up(self) -> bool:
        try:
            return self.http.get(f"http://127.0.0.1:{self._port}/server/ping").status_code == 200
        except httpx.TransportError:
            return False

    def _introduce(self) -> None:
        """Have the tables tracked, and make a viewer who may read them and create records."""
        for one in _COLLECTIONS:
            self._call("PATCH", f"/collections/{one}", {"meta": {"accountability": "all", "hidden": False}})
            self._call("PATCH", f"/fields/{one}/id", {"meta": {"special": ["uuid"]}})
        alias = {"special": ["o2m"], "interface": "list-o2m"}
        self._call("POST", "/fields/record", {"field": "measurements", "type": "alias", "meta": alias})
        self._call("PATCH", "/relations/measurement/record_id", {"meta": {"one_field": "measurements"}})
        role = self._call("POST", "/roles", {"name": "viewer"})["id"]
        policy = self._call("POST", "/policies", {"name": "viewer", "app_access": False, "admin_access": False})["id"]
        self._call("POST", "/access", {"role": role, "policy": policy})
        for one, action in [*((one, "read") for one in _COLLECTIONS), ("record", "create")]:
            permission = {"policy": policy, "collection": one, "action": action, "permissions": None, "fields": ["*"]}
            self._call("POST", "/permissions", permission)
        viewer = {"email": "viewer@example.com", "password": secrets.token_hex(16), "role": role, "status": "active"}
        self._call("POST", "/users", {**viewer, "token": self._viewer})

    def _call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        url = f"http://127.0.0.1:{self._port}{path}"
        answer = self.http.request(method, url, json=body, headers={"authorization": f"Bearer {self._admin}"})
        if answer.status_code >= 300:
            raise RefusedError(f"directus answered {answer.status_code} to {method} {path}: {answer.text[:400]}")
        return json.loads(answer.text)["data"] if answer.text else None


def _renamed(row: Row) -> Row:
    named = {_FIELDS.get(name, name): value for name, value in row.items()}
    for link, name in (("projectId", "project"), ("deviceId", "device")):
        if link in named:
            named[name] = named.pop(link)
    return named
