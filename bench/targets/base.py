"""What a target is: a server of its own over the common data, and how it is asked for each workload."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from bench.dataset import Dataset
from bench.process import Usage, children_of, usage_of
from bench.server import Databases
from bench.work import PageTask, Task, Work, tasks

POOL_SIZE: Final = 10
"""Connections to PostgreSQL that each target may have for requests."""

Row = dict[str, Any]
"""A record in Fieldward's words, as it was answered."""


class UnavailableTargetError(Exception):
    """The target can't be had on this machine. The message says why."""


class RefusedError(Exception):
    """A target answered with errors where data was expected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the targets of a run share. `directory` is where their files and logs go."""

    dataset: Dataset
    databases: Databases
    directory: Path


class Target(ABC):
    """A server that answers the workloads. `prepare` once, then `start`; it is stopped with the stack."""

    name: str

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.pids: list[int] = []

    @property
    def dataset(self) -> Dataset:
        """The data that it holds."""
        return self.setting.dataset

    @property
    @abstractmethod
    def version(self) -> str:
        """What it is, with its version, for the report."""

    @property
    @abstractmethod
    def database(self) -> str:
        """The name of its database."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it takes GraphQL."""

    @abstractmethod
    def prepare(self) -> None:
        """Install it and fill its database.

        Raises:
            UnavailableTargetError: it can't be had on this machine.
        """

    @abstractmethod
    def launch(self, stack: ExitStack) -> None:
        """Start a server process, to be stopped with the stack, and return once it answers."""

    def start(self, stack: ExitStack) -> None:
        """Start its server, to be stopped with the stack, and return once it answers."""
        stack.callback(self.http.close)
        self.launch(stack)

    @abstractmethod
    def body(self, work: Work, task: Task) -> dict[str, Any]:
        """Return the request for one task, as JSON's objects."""

    @abstractmethod
    def rows(self, work: Work, data: Any) -> list[Row]:
        """Return the records of an answer's data, in Fieldward's words."""

    @property
    @abstractmethod
    def audit_table(self) -> str:
        """The table that has a row for each audited creation."""

    def headers(self) -> dict[str, str]:
        """Return the headers with which requests are sent from now on, signed in where that is the way."""
        return {}

    def bodies(self, work: Work) -> list[bytes]:
        """Return the requests of a workload in turn, as they are sent."""
        return [orjson.dumps(self.body(work, task)) for task in tasks(work, self.dataset)]

    @cached_property
    def http(self) -> httpx.Client:
        """A client for what is asked apart from the load."""
        return httpx.Client(timeout=60)

    def ask(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        """Return the data of one answer.

        Raises:
            RefusedError: there are errors in it.
        """
        sent = self.headers() if headers is None else headers
        response = self.http.post(
            self.url, content=orjson.dumps(body), headers={"content-type": "application/json", **sent}
        )
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = {"errors": response.text[:500]}
        if response.status_code != 200 or answer.get("errors") or answer.get("data") is None:
            raise RefusedError(f"{self.name} answered {response.status_code}: {str(answer.get('errors'))[:800]}")
        return answer["data"]

    def usage(self) -> Usage:
        """Return what its processes use."""
        return usage_of([one for pid in self.pids for one in (pid, *children_of(pid))])


class CursorTarget(Target):
    """A target whose cursors are its own: a page is reached from the one before it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._cursors: dict[PageTask, str] = {}

    @abstractmethod
    def page_body(self, work: Work, task: PageTask, after: str | None) -> dict[str, Any]:
        """Return the request for a page that begins after a cursor."""

    def after(self, work: Work, task: PageTask) -> str | None:
        """Return the cursor that a page begins after, got by asking for the page before."""
        if task.page == 0:
            return None
        before = task.before
        if before not in self._cursors:
            data = self.ask(self.page_body(work, before, self.after(work, before)))
            self._cursors[before] = data["records"]["pageInfo"]["endCursor"]
        return self._cursors[before]
