"""A service whose clock jumps: nobody is let in longer, and no time that is written down is a lie, since those are the
database's."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.support.clock import Clock
from tests.support.installation import EMAIL, PASSWORD, Installation, Served, installed
from tests.support.served import Caller
from tests.support.server import ROOT

HOUR = 3600
WRONG = ["UNAUTHENTICATED"]
WHO = "{ viewer { user { name } } }"
SIGN_IN = (
    "mutation($input: SignInInput!) { signIn(input: $input) {"
    " accessToken refreshToken challenge { token } errors { code } } }"
)
REFRESH = (
    "mutation($t: String!) { refreshSession(input: {refreshToken: $t}) { accessToken refreshToken errors { code } } }"
)
BEGIN = "mutation { beginTotp { authenticatorId secret errors { code } } }"
CONFIRM = "mutation($i: ConfirmTotpInput!) { confirmTotp(input: $i) { recoveryCodes errors { code } } }"
COMPLETE = "mutation($i: CompleteSignInInput!) { completeSignIn(input: $i) { accessToken errors { code } } }"


@pytest.fixture
def installation() -> Iterator[Installation]:
    """One for each test: what a clock that ran ahead has left behind is no other test's."""
    with installed() as made:
        yield made


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The service's clock."""
    return Clock(tmp_path / "clock")


def test_a_jump_forward_ends_what_has_run_out_and_a_jump_back_lets_nobody_in_longer(
    installation: Installation, clock: Clock
) -> None:
    with installation.served(settings=clock.environment) as served:
        given = {"email": EMAIL, "password": PASSWORD, "organization": "basin"}
        tokens = _asked(served, SIGN_IN, {"input": given})["signIn"]
        assert _name(served, tokens["accessToken"]) == "Olive"

        # Six minutes on, the access token is over, and a refresh gives another.
        clock.jump(360)
        assert _name(served, tokens["accessToken"]) is None
        renewed = _asked(served, REFRESH, {"t": tokens["refreshToken"]})["refreshSession"]
        assert renewed["errors"] == []
        assert _name(served, renewed["accessToken"]) == "Olive"

        # Back: what was issued by the clock that ran ahead is not good yet, and what was refused before stays what it
        # is: five minutes from its issue and not one more.
        clock.jump(0)
        assert _name(served, renewed["accessToken"]) is None
        clock.jump(-HOUR)
        assert _name(served, renewed["accessToken"]) is None
        assert _name(served, tokens["accessToken"]) is None
        # Whoever signs in is let in by a clock that runs behind.
        again = _asked(served, SIGN_IN, {"input": given})["signIn"]
        assert _name(served, again["accessToken"]) == "Olive"
        # A session's end is written down; a clock that jumps a day past it ends it.
        clock.jump(25 * HOUR)
        refused = _asked(served, REFRESH, {"t": again["refreshToken"]})["refreshSession"]
        assert refused is None or [one["code"] for one in refused["errors"]] == ["UNAUTHENTICATED"]
        clock.jump(0)
        assert _name(served, _asked(served, SIGN_IN, {"input": given})["signIn"]["accessToken"]) == "Olive"
        assert not served.logged("unexpected_error")


def test_times_of_the_trail_and_its_heads_are_the_databases_whatever_the_service_thinks(
    installation: Installation, clock: Clock
) -> None:
    began = datetime.now(UTC)
    with installation.served(settings=clock.environment) as served:
        owner = served.signed_in()
        served.begin(owner, "CLOCK")
        for seconds in (0, 1800, -7200, 0, -86_400):
            clock.jump(seconds)
            caller = served.signed_in()
            assert served.create(caller, f"AT{seconds}") is None
            _wait_until_sealed(installation)
        # A session's end is the database's: by a clock that runs ahead by more than that, every session is over, and
        # nobody is let in before it is right again.
        clock.jump(86_400)
        assert served.create(served.signed_in(), "AHEAD") == "UNAUTHENTICATED"
        clock.jump(0)
        assert served.create(served.signed_in(), "RIGHT") is None
        assert "AHEAD" not in served.sites(served.signed_in())
    ended = datetime.now(UTC)

    rows = _rows(installation, "select at from audit_entry where at >= $1 order by id", began - timedelta(seconds=5))
    assert all(began - timedelta(seconds=5) <= row["at"] <= ended for row in rows)
    assert len(rows) > 6
    heads = _rows(
        installation,
        "select organization_id, tree_size as size, sealed_at as at from sealed_batch where sealed_at >= $1"
        " order by organization_id, tree_size",
        began - timedelta(seconds=5),
    )
    assert len(heads) > 5
    assert all(row["at"] <= ended for row in heads)
    for one, other in pairwise(heads):
        if one["organization_id"] == other["organization_id"]:
            assert one["at"] <= other["at"]
            assert one["size"] < other["size"]
    verified = subprocess.run(
        [sys.executable, "-m", "fieldward", "audit", "verify", "--json"],
        cwd=ROOT,
        env=installation.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_code_of_another_time_is_refused_and_one_that_was_used_stays_used(
    installation: Installation, clock: Clock
) -> None:
    with installation.served(settings=clock.environment) as served:
        owner = served.signed_in()
        begun = owner.run(BEGIN).data["beginTotp"]
        app = pyotp.TOTP(begun["secret"])
        confirmed = owner.run(CONFIRM, {"i": {"id": begun["authenticatorId"], "code": app.now(), "name": "App"}})
        assert confirmed.data["confirmTotp"]["errors"] == [], confirmed.data

        ahead = HOUR // 2
        clock.jump(ahead)
        code_then = app.at(datetime.now(UTC) + timedelta(seconds=ahead))
        # By the service's clock the code of now is an old one.
        assert _completed(served, app.now()) == WRONG
        assert _completed(served, code_then) == []
        # Used is used: not at the time that it is of, nor at that to which the clock comes back.
        assert _completed(served, code_then) == WRONG
        clock.jump(0)
        assert _completed(served, code_then) == WRONG
        # Until the time has come back to where it was, no code is newer than the one that was used. That keeps out who
        # has seen one, and the owner goes by a recovery code.
        assert _completed(served, app.now()) == WRONG
        recovery = confirmed.data["confirmTotp"]["recoveryCodes"][0]
        assert _completed(served, recovery, recovery=True) == []


def test_the_check_tells_of_a_clock_that_differs(installation: Installation, clock: Clock) -> None:
    found = {}
    for seconds in (0, 60):
        environment = installation.environment(**clock.environment)
        clock.jump(seconds)
        done = subprocess.run(
            [sys.executable, "-m", "fieldward", "check", "--deploy", "--json"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        found[seconds] = [one["where"] for one in json.loads(done.stdout)["findings"] if one["name"] == "clock"]

    assert found[0] == []
    assert found[60] == ["they differ by 60 seconds"] * 2


def _asked(served: Served, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    body = served.http.post("/graphql", json={"query": query, "variables": variables}).json()
    data: dict[str, Any] | None = body.get("data")
    assert data is not None, body
    return data


def _name(served: Served, token: str) -> str | None:
    """Return the name of whom a token lets in; None where it lets nobody in."""
    reply = Caller(served.http, token).run(WHO)
    viewer = (reply.data or {}).get("viewer")
    if viewer is None:
        assert reply.errors == [] or [one["extensions"]["code"] for one in reply.errors] == ["UNAUTHENTICATED"]
        return None
    return str(viewer["user"]["name"])


def _completed(served: Served, code: str, *, recovery: bool = False) -> list[str]:
    """Return the codes of the errors of a sign-in by that second factor."""
    given = {"email": EMAIL, "password": PASSWORD, "organization": "basin"}
    begun = _asked(served, SIGN_IN, {"input": given})["signIn"]
    if begun["errors"]:
        return [one["code"] for one in begun["errors"]]
    answer = {"challenge": begun["challenge"]["token"], "recoveryCode" if recovery else "totp": code}
    body = served.http.post("/graphql", json={"query": COMPLETE, "variables": {"i": answer}}).json()
    payload = body["data"]["completeSignIn"]
    return [one["code"] for one in payload["errors"]] if payload else [body["errors"][0]["extensions"]["code"]]


def _rows(installation: Installation, query: str, *arguments: Any) -> list[Any]:
    async def ask() -> list[Any]:
        superuser = await installation.superuser()
        try:
            return list(await superuser.fetch(query, *arguments))
        finally:
            await superuser.close()

    return asyncio.run(ask())


def _wait_until_sealed(installation: Installation) -> None:
    end = time.monotonic() + 30
    query = (
        "select count(*) from audit_entry e where not exists"
        " (select from sealed_leaf l where l.organization_id = e.organization_id and l.id = e.id)"
    )
    while installation.value(query):
        assert time.monotonic() < end, "what was entered is not sealed"
        time.sleep(0.2)
