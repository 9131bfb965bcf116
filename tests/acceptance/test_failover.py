"""A primary with a standby, below a real server process: what is answered beside the primary, without, and after it."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from auth.role import OrganizationRole
from drills.caller import Caller
from drills.machine import Person
from tests.support.standby import PairedMachine

OLIVE: Final = Person("olive@basin.example", OrganizationRole.OWNER)
ADA: Final = Person("ada@basin.example", OrganizationRole.ADMIN)
STALE: Final = {"fieldward-max-staleness": "60"}
PROJECT: Final = (
    "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code } } }"
)
RECORD: Final = "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
CODES: Final = "{ projects { nodes { code } } }"
COMMENTS: Final = "{ records(first: 5) { nodes { siteCode comment } } }"
SITES: Final = "{ records(first: 5) { nodes { siteCode } } }"
PATIENCE_S: Final = 90
"""Seconds in which an answer comes, also on a machine whose disk is busy: longer than an operation and its commit."""
SUSPEND: Final = "mutation($input: UserStandingInput!) { suspendUser(input: $input) { errors { code } } }"


@pytest.fixture(scope="module")
def machine() -> Iterator[PairedMachine]:
    """A primary and a standby, and the service over both."""
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    directory.chmod(0o755)
    made = PairedMachine(directory / "pair")
    try:
        with made.standing():
            asyncio.run(made.found([OLIVE, ADA]))
            made.require_standby()
            made.start()
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def olive(machine: PairedMachine) -> Iterator[Caller]:
    """The owner, with a project that has a record."""
    with closing(Caller(machine, OLIVE)) as caller:
        made = caller.data(PROJECT, {"input": {"code": "FAIL", "name": "Over"}})
        given = {
            "projectId": made["createProject"]["project"]["id"],
            "siteCode": "SITE-1",
            "collectedAt": "2026-01-05T10:00:00Z",
            "medium": "WATER",
            "comment": "Confidential",
        }
        assert caller.data(RECORD, {"input": given})["createRecord"]["errors"] == []
        yield caller


def ask(machine: PairedMachine, caller: Caller, query: str, variables: Any = None, **headers: str) -> httpx.Response:
    """Send an operation as somebody, with headers."""
    sent = {
        "authorization": f"Bearer {caller.token()}",
        **{name.replace("_", "-"): said for name, said in headers.items()},
    }
    body = {"query": query, "variables": variables or {}}
    return httpx.post(machine.url, json=body, headers=sent, timeout=PATIENCE_S)


def codes(answer: httpx.Response) -> list[str]:
    """Return the codes of an answer's errors."""
    return [one["extensions"]["code"] for one in answer.json().get("errors", ())]


def until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Return once something is so."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, "It is not so in time."
        time.sleep(0.1)


def test_a_query_that_may_be_stale_is_read_from_the_standby_and_sees_what_was_done_before_it(
    machine: PairedMachine, olive: Caller
) -> None:
    for number in range(5):
        olive.data(PROJECT, {"input": {"code": f"P{number}", "name": "Seen at once"}})

        answer = ask(machine, olive, CODES, **STALE)

        assert f"P{number}" in [one["code"] for one in answer.json()["data"]["projects"]["nodes"]]
        assert answer.headers["fieldward-read-from"] == "standby; age=0"


def test_a_confidential_value_may_be_read_from_the_standby_beside_the_primary_and_is_noted(
    machine: PairedMachine, olive: Caller
) -> None:
    answer = ask(machine, olive, COMMENTS, **STALE)

    assert answer.json()["data"]["records"]["nodes"] == [{"siteCode": "SITE-1", "comment": "Confidential"}]
    assert answer.headers["fieldward-read-from"] == "standby; age=0"
    assert asyncio.run(_entries(machine, answer.headers["x-request-id"])) == [("READ", "comment")]


async def _entries(machine: PairedMachine, request_id: str) -> list[tuple[str, str]]:
    async with machine.superuser() as superuser:
        rows = await superuser.fetch(
            "select kind, field from audit_entry where request_id = $1::text::uuid", request_id
        )
    return [(row["kind"], row["field"]) for row in rows]


def test_without_the_header_the_primary_is_read(machine: PairedMachine, olive: Caller) -> None:
    assert "fieldward-read-from" not in ask(machine, olive, CODES).headers


@pytest.mark.parametrize("said", ["soon", "-1", "1.5", "99999999", ""])
def test_a_header_that_is_no_number_of_seconds_is_refused(machine: PairedMachine, olive: Caller, said: str) -> None:
    answer = ask(machine, olive, CODES, fieldward_max_staleness=said)

    assert (answer.status_code, codes(answer)) == (400, ["INVALID_INPUT"])


def test_a_mutation_that_says_it_may_be_stale_reads_from_the_primary(machine: PairedMachine, olive: Caller) -> None:
    answer = ask(machine, olive, PROJECT, {"input": {"code": "HEADED", "name": "By the primary"}}, **STALE)

    assert answer.json()["data"]["createProject"]["errors"] == []
    assert "fieldward-read-from" not in answer.headers


def test_a_standby_that_has_not_replayed_enough_is_not_read(machine: PairedMachine, olive: Caller) -> None:
    asyncio.run(_replay(machine, "pause"))
    try:
        olive.data(PROJECT, {"input": {"code": "LATE", "name": "Not replayed"}})
        answer = ask(machine, olive, CODES, **STALE)
    finally:
        asyncio.run(_replay(machine, "resume"))

    assert "LATE" in [one["code"] for one in answer.json()["data"]["projects"]["nodes"]]
    assert "fieldward-read-from" not in answer.headers


async def _replay(machine: PairedMachine, what: str) -> None:
    parameters: dict[str, Any] = dict(machine.standby.superuser("fieldward").dsn_parameters())
    connection = await asyncpg.connect(**parameters)
    try:
        await connection.execute(f"select pg_wal_replay_{what}()")
    finally:
        await connection.close()


def test_somebody_who_was_suspended_is_refused_by_the_standby_too(machine: PairedMachine, olive: Caller) -> None:
    with closing(Caller(machine, ADA)) as ada:
        user_id = ada.data("{ viewer { user { id } } }")["viewer"]["user"]["id"]
        assert ask(machine, ada, CODES, **STALE).json()["data"]["projects"]["nodes"]
        given = {"userId": user_id, "reason": "Leaves."}
        assert olive.data(SUSPEND, {"input": given})["suspendUser"]["errors"] == []

        answer = ask(machine, ada, CODES, **STALE)

    assert codes(answer) == ["UNAUTHENTICATED"]


def test_a_commit_that_no_standby_confirms_is_of_unknown_outcome_until_it_is_sent_again(
    machine: PairedMachine, olive: Caller
) -> None:
    olive.token()
    given = {"input": {"code": "WAITS", "name": "For a standby"}}
    key = {"idempotency-key": "2f0c6f0e-7b6d-4a3f-9d57-5f1c0a9be111"}
    machine.signal_standby(signal.SIGSTOP)
    try:
        began = time.monotonic()
        unknown = ask(machine, olive, PROJECT, given, **key)
        took_s = time.monotonic() - began
        seen = "WAITS" in ask(machine, olive, CODES).text
        in_use = ask(machine, olive, PROJECT, given, **key)
    finally:
        machine.signal_standby(signal.SIGCONT)
    answers: list[httpx.Response] = []

    def is_answered() -> bool:
        answers.append(ask(machine, olive, PROJECT, given, **key))
        data = answers[-1].json()["data"]
        return bool(data and data["createProject"]) and data["createProject"]["errors"] == []

    until(is_answered)

    assert (codes(unknown), unknown.json()["data"]) == (["UNKNOWN_OUTCOME"], {"createProject": None})
    assert 14 < took_s < 40
    assert not seen, "What no standby has is not shown."
    assert in_use.json()["data"]["createProject"]["errors"] == [{"code": "CONFLICT"}]
    assert answers[-1].headers["idempotency-replayed"] == "true"
    assert ask(machine, olive, CODES).text.count("WAITS") == 1


def test_what_was_done_before_is_not_told_while_no_standby_has_it(machine: PairedMachine, olive: Caller) -> None:
    given = {"input": {"code": "TWICE", "name": "Told when it is kept"}}
    key = {"idempotency-key": "6e2f3f59-9a6b-4c2b-8a52-0d1f6f6cf222"}
    assert codes(ask(machine, olive, PROJECT, given, **key)) == []
    machine.signal_standby(signal.SIGSTOP)
    try:
        again = ask(machine, olive, PROJECT, given, **key)
    finally:
        machine.signal_standby(signal.SIGCONT)

    assert codes(again) == ["UNKNOWN_OUTCOME"]
    assert "idempotency-replayed" not in again.headers
    assert ask(machine, olive, PROJECT, given, **key).headers["idempotency-replayed"] == "true"


def test_without_a_primary_reading_goes_on_where_it_may_and_writing_is_refused_at_once(
    machine: PairedMachine, olive: Caller
) -> None:
    """The primary freezes; it comes last, with what follows."""
    olive.token()
    machine.signal_primary(signal.SIGSTOP)
    new = {"input": {"code": "FROZEN", "name": "Never"}}
    until(
        lambda: httpx.get(machine.url.replace("graphql", "health/ready"), timeout=30).text == '{"status":"read-only"}'
    )

    began = time.monotonic()
    refused = ask(machine, olive, PROJECT, new)
    took_s = time.monotonic() - began
    refused_stale = ask(machine, olive, PROJECT, new, **STALE)
    plain = ask(machine, olive, CODES)
    stale = ask(machine, olive, CODES, **STALE)
    sites = ask(machine, olive, SITES, **STALE)
    comments = ask(machine, olive, COMMENTS, **STALE)
    too_old = ask(machine, olive, CODES, fieldward_max_staleness="0")

    assert codes(refused) == codes(refused_stale) == codes(plain) == codes(too_old) == ["UNAVAILABLE"]
    assert took_s < 3
    assert refused.headers["retry-after"] == "5"
    assert refused_stale.json()["data"] == {"createProject": None}
    assert "FAIL" in [one["code"] for one in stale.json()["data"]["projects"]["nodes"]]
    assert int(stale.headers["fieldward-read-from"].removeprefix("standby; age=")) > 0
    assert sites.json()["data"]["records"]["nodes"] == [{"siteCode": "SITE-1"}]
    # What opens it has to be noted, and can't be.
    assert (codes(comments), comments.json()["data"]) == (["UNAVAILABLE"], None)
    assert "Confidential" not in comments.text


def test_another_primary_is_found_and_the_one_before_is_believed_no_more(machine: PairedMachine, olive: Caller) -> None:
    """How long that takes is the drill's to measure (`drills/failover.py`), and the machine's."""
    machine.standby.promote()

    until(lambda: _is_made(machine, olive, "AFTER"))
    machine.signal_primary(signal.SIGCONT)
    time.sleep(3)

    assert _is_made(machine, olive, "LATER")
    assert {"AFTER", "LATER"} <= {one["code"] for one in olive.data(CODES)["projects"]["nodes"]}
    assert asyncio.run(_codes_of_the_one_before(machine)).isdisjoint({"AFTER", "LATER", "FROZEN"})


def _is_made(machine: PairedMachine, caller: Caller, code: str) -> bool:
    data = ask(machine, caller, PROJECT, {"input": {"code": code, "name": code}}).json().get("data")
    return bool(data and data["createProject"]) and data["createProject"]["errors"] == []


async def _codes_of_the_one_before(machine: PairedMachine) -> set[str]:
    async with machine.superuser() as superuser:
        return {row["code"] for row in await superuser.fetch("select code from project")}
