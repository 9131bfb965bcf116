"""Jobs give each organization its turn: what fails in one is done in others all the same, and somebody is told."""

from typing import Any
from uuid import UUID

import pytest

import resolvers.erasure_execution
from fieldward.jobs import DELETE_OVER, build_jobs
from fieldward.settings import Settings
from fieldward.turn import Turns
from models.errors import UnavailableError
from resolvers.erasure import carry_out
from resolvers.erasure_execution import ErasureRunning
from resolvers.retention_run import RetentionRuns
from tests.support.erasure import ask_for_name, done, later, look, of, run_erasures, uuid_of
from tests.support.keeping import keep_for, run_now
from tests.support.world import World

NAME = "Cora Lindqvist-Ode"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


async def _never(*_: Any, **__: Any) -> Any:
    raise UnavailableError("The statement took too long.")


async def test_who_waits_for_an_erasure_that_fails_is_told_of_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.client("owner")
    request = await ask_for_name(world, NAME)
    request = await done(owner, "confirmErasure", of(request, password=owner.password))
    await later(world, request, days=31)
    monkeypatch.setattr(ErasureRunning, "step", _never)

    with pytest.raises(UnavailableError):
        await run_erasures(world)

    opened = await world.sql("select rule, key from incident order by rule")
    key = f"erasure:{uuid_of(request)}"
    assert [tuple(row) for row in opened] == [("erasure_due", key), ("erasure_overdue", key)]


async def test_an_erasure_that_fails_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await world.client("owner")
    requests = []
    for name in (NAME, "Somebody Else"):
        request = await ask_for_name(world, name)
        requests.append(await done(owner, "confirmErasure", of(request, password=owner.password)))
        await later(world, request, days=8 - len(requests) / 10)
    broken = uuid_of(requests[0])

    async def one_fails(*given: Any, erasure_id: UUID, **more: Any) -> Any:
        return await (_never if erasure_id == broken else carry_out)(*given, erasure_id=erasure_id, **more)

    with monkeypatch.context() as breaking:
        breaking.setattr(resolvers.erasure_execution, "carry_out", one_fails)
        with pytest.raises(UnavailableError):
            await run_erasures(world)
    assert [(await look(owner, one))["status"] for one in requests] == ["EXECUTING", "DONE"]

    await run_erasures(world)
    assert (await look(owner, requests[0]))["status"] == "DONE"


async def test_an_organization_whose_data_are_not_deleted_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []

    async def first_fails(_: RetentionRuns, actor: Any, **__: Any) -> Any:
        asked.append(actor.organization_id)
        return await _never() if len(asked) == 1 else []

    monkeypatch.setattr(RetentionRuns, "step", first_fails)
    with pytest.raises(UnavailableError):
        await build_jobs(world.services, Settings())[DELETE_OVER]()

    assert set(asked) == set(await world.services.keystore.organizations())
    assert len(asked) == len(set(asked)) > 1


async def test_a_type_whose_data_are_not_deleted_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("RECORD", "SITE"):
        await keep_for(world, kind, 36500)
    step = RetentionRuns._step

    async def times_out(self: RetentionRuns, actor: Any, kind: Any, *, asked: bool) -> Any:
        return await _never() if kind == "RECORD" else await step(self, actor, kind, asked=asked)

    monkeypatch.setattr(RetentionRuns, "_step", times_out)
    assert list(await run_now(world)) == ["SITE"]


async def test_where_the_database_is_away_the_round_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns("not_done")
    here, there = await world.organization_id("clearwater"), await world.organization_id("suncoast")

    async def fail(organization_id: UUID, error: Exception) -> None:
        async with turns.of(organization_id):
            raise error

    await fail(here, UnavailableError("A deadlock."))
    await fail(there, ValueError("A bug."))
    assert turns.end(is_more=True)
    with pytest.raises(UnavailableError, match="A deadlock"):
        turns.end()

    class Away:
        def __init__(self, *_: Any) -> None: ...

        async def __aenter__(self) -> Any:
            raise UnavailableError("No database.")

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr("fieldward.turn.OneStatement", Away)
    with pytest.raises(UnavailableError, match="No database"):
        await fail(here, UnavailableError("No answer."))
