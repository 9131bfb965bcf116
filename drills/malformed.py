"""Operations and inputs that are wrong, by the ten thousand: nothing breaks, nothing leaks, nothing is half-written.

Operations are made by hypothesis-graphql from the printed contract, for each root field as many: most of them break one
of its rules in one place, the others keep to it and give values that no caller of sense would. All sorts of people ask,
over HTTP, and follow what is live over a WebSocket. Each answer is looked at at once; at the end the database is held
against what was answered. Of fifty thousand operations or more each argument and each field of an input has to have
been given; of twenty thousand, 49 in 50.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import orjson
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from graphql import (
    build_schema,
)

from auth.action import Action
from auth.role import OrganizationRole
from bench.process import ROOT, free_port
from drills.caller import Caller
from drills.crash import verify_keys, verify_trail
from drills.error import DrillError, require
from drills.fold import untold
from drills.following import first_heard
from drills.machine import Machine, Person
from drills.malformed_operation import Tried, malformed_operations
from drills.malformed_variable import with_variables

CONTRACT: Final = ROOT / "schema" / "schema.graphql"
RECORDS: Final = 6
AS_VARIABLES: Final = 3
"""Of so many operations one gives what it gives as variables."""
NULLS: Final = 10
"""Of so many operations that give variables, one gives null where a default stands in for what can't be null."""
OVER_HTTP: Final = 5
"""Of so many subscriptions one is asked over HTTP, where there are none."""
LONGEST_TOLD: Final = 2000
_ACCEPTED: Final = ("application/json", "application/graphql-response+json")

_INNARDS: Final = ("Traceback", 'File "', "asyncpg", "tortoise", "graphql.error", "psycopg", "site-packages", "SELECT ")
"""What of the server no answer says: names of what it is made of, and lines of its code."""

_PROJECT: Final = (
    "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code } } }"
)
_ASSIGN: Final = "mutation($input: AssignProjectRoleInput!) { assignProjectRole(input: $input) { errors { code } } }"
_RECORD: Final = (
    "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code field } } }"
)
_WHO: Final = "{ viewer { user { id } } }"
_MADE: Final = (
    ("createSite", "CreateSiteInput", "site"),
    ("registerDevice", "RegisterDeviceInput", "device"),
    ("createRole", "CreateRoleInput", "role"),
    ("createServiceAccount", "CreateServiceAccountInput", "serviceAccount"),
    ("createImportMapping", "CreateImportMappingInput", "importMapping"),
    ("createImport", "CreateImportInput", "dataImport"),
    ("createExport", "CreateExportInput", "export"),
)
"""How each organization gets one of every kind: the mutation, its input, and what it answers."""
_WRITTEN: Final = """
    select e.action, e.request_id from audit_entry e
     where e.kind = 'CHANGE' and e.outcome = 'DONE' and e.request_id = any($1::uuid[]) and e.action <> all($2) limit 1
"""
_NOTES: Final = [Action.SESSION_REFUSE_PROOF]
"""What is written of a refusal as a change, by design: that a device did not prove its key counts in its session."""


@dataclass
class Malformed:
    """What a drill was like. codes: how often each was answered; empty where an operation was answered without error,
    `unnamed` for an error in a payload of which the operation did not ask for the code.

    broken: how many operations break the contract. by_variables: how many give what they give as variables.
    live: how many are subscriptions, over a WebSocket.

    reached: arguments and fields of inputs that were given at least once, of those that there are.
    """

    seed: int
    asked: int = 0
    broken: int = 0
    by_variables: int = 0
    live: int = 0
    took_s: float = 0
    codes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    reached: int = 0
    reachable: int = 0
    written: int = 0
    sealed: int = 0
    opened: int = 0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what no answer to them may say. is_owner: whether they may shut everybody out."""

    name: str
    caller: Caller | None
    unspeakable: Sequence[str]
    is_owner: bool = False

    @property
    def token(self) -> str | None:
        """What they sign requests with."""
        return None if self.caller is None else self.caller.token()


def malformed_under_watch(
    directory: Path, count: int, *, seed: int, say: Callable[[str], None] = lambda _: None
) -> Malformed:
    """Ask that many operations and return what it was like.

    seed: of the operations, and of who asks them.

    Raises:
        DrillError: an answer is a failure of the server, or says what it must not; something was written that was
            refused; or of twenty thousand operations and more too many arguments were never tried.
    """
    contract = build_schema(CONTRACT.read_text())
    port = free_port()
    machine, outcome, tried = Machine(directory, **_mail_settings(port)), Malformed(seed), Tried(contract)
    say(f"seed {seed}")
    with _mail_server(port), _scene(machine) as (askers, ids), httpx.Client(timeout=60) as http:
        began, watch = time.monotonic(), Watch(outcome)
        for number, drawn in enumerate(malformed_operations(contract, count, seed=seed, ids=ids)):
            able = [one for one in askers if not (drawn.keeps_out and one.is_owner)]
            asker, text = able[number % len(able)], drawn.text
            tried.note(text)
            variables: dict[str, Any] = {}
            if number % AS_VARIABLES == 0:
                text, variables = with_variables(contract, text, nulls=number // AS_VARIABLES % NULLS == 0)
            # By turns, as clients ask: what was refused has a status of its own then, or 200.
            accept = _ACCEPTED[number // len(askers) % len(_ACCEPTED)]
            if drawn.is_live and number % OVER_HTTP:
                watch.look(asker, text, first_heard(machine.url, asker.token, text, variables), is_live=True)
                outcome.live += 1
            else:
                watch.look(asker, text, _ask(http, machine.url, asker, text, variables, accept))
            outcome.broken += drawn.is_broken
            outcome.by_variables += bool(variables)
            if number % 5000 == 4999:
                say(f"{number + 1} operations, {number / (time.monotonic() - began):.0f}/s")
        outcome.took_s = time.monotonic() - began
        asyncio.run(_hold(machine, watch.refused))
        outcome.written = watch.written
        outcome.opened = verify_keys(machine)
        outcome.sealed = verify_trail(machine)
        for log in machine.logs:
            require("unexpected_error" not in log.read_text(), f"the service failed unexpectedly: see {log}")
    outcome.reached, outcome.reachable = len(tried.reached), len(tried.reachable)
    missing = sorted(tried.reachable - tried.reached)
    # What is given is drawn: of twenty thousand operations a few of the rarest are not, of a hundred thousand each is.
    most = outcome.reachable if count < 20_000 else outcome.reachable // 50 if count < 50_000 else 0
    require(len(missing) <= most, f"{len(missing)} arguments were never tried: {missing[:10]}")
    return outcome


class Watch:
    """Looks at each answer, and keeps which requests changed nothing by what they were told.

    written: how many mutations may have done something, by their answers.
    """

    def __init__(self, outcome: Malformed) -> None:
        self._outcome = outcome
        self.refused: list[UUID] = []
        self.written = 0

    def look(self, asker: Asker, text: str, response: httpx.Response, *, is_live: bool = False) -> None:
        """Raise `DrillError` where the answer to an operation is none that may be given.

        is_live: it came over a WebSocket, whose messages have no id of a request. Subscriptions write nothing.
        """
        told = f"asked by {asker.name}: {text[:LONGEST_TOLD]!r}, answered {response.status_code}"
        require(response.status_code < 500, f"the server failed, {told}: {response.text[:LONGEST_TOLD]}")
        said = response.text
        for word in (*asker.unspeakable, *_INNARDS):
            require(word not in said, f"{word!r} is in the answer, {told}")
        try:
            body: dict[str, Any] = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise DrillError(f"the answer is no JSON, {told}") from error
        codes = list(_codes(body))
        require("INTERNAL" not in codes, f"the server failed, {told}: {said[:LONGEST_TOLD]}")
        outcome = self._outcome
        outcome.asked += 1
        outcome.statuses[response.status_code] += 1
        outcome.codes.update(codes or [""])
        if asker.caller is not None and "UNAUTHENTICATED" in codes:
            # It has signed itself out.
            asker.caller.forget()
        if not _may_have_written(body):
            if not is_live:
                self.refused.append(UUID(response.headers["x-request-id"]))
        elif text.lstrip().startswith("mutation"):
            self.written += 1


@contextmanager
def _mail_server(port: int) -> Iterator[None]:
    """Take all mail, and keep none: what sends letters is tried like all else."""
    taking = Controller(Sink(), hostname="127.0.0.1", port=port)
    taking.start()
    try:
        yield
    finally:
        taking.stop()


def _mail_settings(port: int) -> dict[str, str]:
    return {
        "FIELDWARD_SMTP_HOST": "127.0.0.1",
        "FIELDWARD_SMTP_PORT": str(port),
        "FIELDWARD_SMTP_SECURITY": "none",
        "FIELDWARD_SMTP_FROM": "fieldward@basin.example",
        "FIELDWARD_PUBLIC_URL": "http://localhost:8000",
    }


def _ask(
    http: httpx.Client, url: str, asker: Asker, text: str, variables: Mapping[str, Any], accept: str
) -> httpx.Response:
    headers = {"content-type": "application/json", "accept": accept}
    token = asker.token
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return http.post(url, content=json.dumps({"query": text, "variables": variables}), headers=headers)


def _codes(body: Mapping[str, Any]) -> Iterator[str]:
    for error in body.get("errors") or ():
        yield str((error.get("extensions") or {}).get("code"))
    for payload in _payloads(body):
        for error in payload.get("errors") or ():
            # What was selected of it, under whatever alias.
            yield str(error.get("code") or "unnamed")


def _payloads(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for payload in (body.get("data") or {}).values():
        if isinstance(payload, dict):
            yield payload


def _may_have_written(body: Mapping[str, Any]) -> bool:
    """Return whether an answer leaves it open that something was done: it has data that is not all refusals."""
    return any(not payload.get("errors") for payload in _payloads(body))


@contextmanager
def _scene(machine: Machine) -> Iterator[tuple[list[Asker], list[str]]]:
    """Start the service with two organizations, and yield all sorts of people, and ids of what there is."""
    owner = Person("olive@basin.example", OrganizationRole.OWNER)
    manager, viewer, aside = (
        Person(f"{name}@basin.example", OrganizationRole.MEMBER) for name in ("mona", "vera", "sid")
    )
    stranger = Person("stan@harbour.example", OrganizationRole.OWNER, organization="harbour")
    with machine.standing(), ExitStack() as stack:
        asyncio.run(machine.found([owner, manager, viewer, aside], [stranger]))
        machine.start()
        callers = {
            one.email: stack.enter_context(closing(Caller(machine, one)))
            for one in (owner, manager, viewer, aside, stranger)
        }
        ids, secrets = _furnish(callers[owner.email], "basin")
        elsewhere, theirs = _furnish(callers[stranger.email], "harbour")
        for person, role in ((manager, "MANAGER"), (viewer, "VIEWER")):
            user_id = callers[person.email].data(_WHO)["viewer"]["user"]["id"]
            given = {"userId": user_id, "projectId": ids[0], "role": role, "reason": "Is in the drill."}
            callers[owner.email].data(_ASSIGN, {"input": given})
        # Of those who ask nobody is named: who was removed could not.
        ids.append(callers[aside.email].data(_WHO)["viewer"]["user"]["id"])
        yield (
            [
                Asker("the owner", callers[owner.email], theirs, is_owner=True),
                Asker("the manager", callers[manager.email], theirs),
                Asker("the viewer", callers[viewer.email], [*secrets, *theirs]),
                Asker("another tenant's owner", callers[stranger.email], secrets, is_owner=True),
                Asker("nobody", None, [*secrets, *theirs]),
            ],
            [*ids, *elsewhere],
        )


def _furnish(owner: Caller, name: str) -> tuple[list[str], list[str]]:
    """Make a project with records; return the ids, and what only who may read it is to see."""
    given: dict[str, Any] = {"code": name.upper(), "name": f"What {name} keeps"}
    ids, secrets = [owner.data(_PROJECT, {"input": given})["createProject"]["project"]["id"]], []
    for place in range(RECORDS):
        words = [f"{kind}{name}{place}kept" for kind in ("comment", "collector")]
        made = owner.data(
            _RECORD,
            {
                "input": {
                    "projectId": ids[0],
                    "siteCode": f"S-{place}",
                    "collectedAt": "2026-01-02T03:04:05Z",
                    "medium": "WATER",
                    "comment": words[0],
                    "collector": words[1],
                    "measurements": [{"characteristic": "pH", "value": 7.0, "comment": f"note{name}{place}kept"}],
                }
            },
        )
        ids.append(made["createRecord"]["record"]["id"])
        secrets += [*words, f"note{name}{place}kept"]
    for (mutation, kind, thing), given in zip(_MADE, _one_of_each(owner, ids[0]), strict=True):
        text = (
            f"mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {thing} {{ id }} errors {{ code field }} }} }}"
        )
        made = owner.data(text, {"input": given})[mutation]
        require(made["errors"] == [], f"{mutation} was refused: {made['errors']}")
        ids.append(made[thing]["id"])
    return ids, secrets


def _one_of_each(owner: Caller, project_id: str) -> Iterator[dict[str, Any]]:
    """Yield what is given to make one of each kind, in the order of `_MADE`."""
    user_id = owner.data(_WHO)["viewer"]["user"]["id"]
    expiry, reason = (datetime.now(UTC) + timedelta(days=30)).isoformat(), "Is in the drill."
    mapping = {
        "columns": [{"column": "Site", "field": "SITE_CODE"}, {"column": "When", "field": "COLLECTED_AT"}],
        "results": [{"column": "pH", "characteristic": "pH"}],
    }
    yield {"projectId": project_id, "code": "S-0", "name": "Well at the gate", "latitude": 40.5, "longitude": -105.1}
    yield {"userId": user_id, "platform": "LOGGER", "model": "CR1000"}
    yield {"name": "Laboratory", "level": "PROJECT", "permissions": ["RECORD_READ", "PROJECT_READ"], "reason": reason}
    yield {"name": "Dashboard", "permissions": ["RECORD_READ"], "expiresAt": expiry, "reason": reason}
    yield {"projectId": project_id, "name": "Wells", "mapping": mapping}
    yield {"projectId": project_id, "kind": "WQX_CSV", "fileName": "results.csv", "size": 52418}
    yield {"format": "CSV"}


async def _hold(machine: Machine, refused: Sequence[UUID]) -> None:
    """Hold the database against what was answered: what was refused wrote nothing, and all rows have their trail."""
    async with machine.superuser() as superuser:
        for place in range(0, len(refused), 10_000):
            found = await superuser.fetchrow(_WRITTEN, refused[place : place + 10_000], _NOTES)
            require(found is None, f"a request was refused, and yet something was done: {found and dict(found)}")
        left = await untold(superuser)
        require(not left, f"rows are not what the trail says: {left}")
