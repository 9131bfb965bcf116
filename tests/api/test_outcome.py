"""A lost connection: before the commit nothing was changed and that is said, during the commit nobody can know."""

from collections.abc import Sequence

import pytest

from tests.support.mutation import mutate
from tests.support.world import World

BREAK = """
create function break_it() returns trigger language plpgsql security definer as
  $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$
"""


@pytest.mark.parametrize(
    ("trigger", "code", "attempts"),
    [
        ("create trigger break_it after insert on project for each row execute function break_it()", "UNAVAILABLE", 1),
        (
            "create constraint trigger break_it after insert on project deferrable initially deferred"
            " for each row execute function break_it()",
            "UNKNOWN_OUTCOME",
            0,
        ),
    ],
)
async def test_a_lost_connection_is_told_for_what_it_is(world: World, trigger: str, code: str, attempts: int) -> None:
    client = await world.client("owner")
    await world.sql(BREAK)
    await world.sql(trigger)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, "createProject", {"code": "LOST", "name": "Lost"})

    assert answer.codes == [code]
    assert answer.body["data"] == {"createProject": None}
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "FAILED", code)
    ] * attempts
    await world.sql("drop trigger break_it on project")
    again = await mutate(client, "createProject", {"code": "LOST", "name": "Lost"})
    assert again.data["createProject"]["errors"] == []


ONCE = (
    "create sequence times",
    "create function fail_once() returns trigger language plpgsql security definer as"
    " $$ begin if nextval('times') = 1 then {how} end if; return null; end $$",
    "create trigger fail_once after insert on project for each row execute function fail_once()",
)
WARNED = (
    "create function warn() returns trigger language plpgsql as $$ begin raise warning 'Locally.'; return null; end $$",
    "create constraint trigger warn after insert on project deferrable initially deferred"
    " for each row execute function warn()",
)


async def prepare(world: World, statements: Sequence[str], how: str = "") -> None:
    """Have the database do something when a project is made."""
    for statement in statements:
        await world.sql(statement.format(how=how) if how else statement)


@pytest.mark.parametrize(
    "how",
    [
        "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1);",
        "raise exception using errcode = 'read_only_sql_transaction';",
        "raise exception using errcode = 'deadlock_detected';",
        "raise exception using errcode = 'serialization_failure';",
    ],
    ids=["the connection is lost", "the server has stepped down", "a deadlock", "a conflict"],
)
async def test_a_change_that_was_certainly_not_committed_is_made_once_more(world: World, how: str) -> None:
    client = await world.client("owner")
    await prepare(world, ONCE, how)
    since = await world.now()

    answer = await mutate(client, "createProject", {"code": "ONCE", "name": "Once"})

    assert answer.data["createProject"]["errors"] == []
    assert [one["code"] for one in await world.sql("select code from project where code = 'ONCE'")] == ["ONCE"]
    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"]) for one in entries] == [("CHANGE", "DONE")]


async def test_a_change_that_takes_too_long_is_not_made_once_more(world: World) -> None:
    client = await world.client("owner")
    await prepare(world, ONCE, "raise exception using errcode = 'query_canceled';")

    answer = await mutate(client, "createProject", {"code": "LONG", "name": "Long"})

    assert answer.codes == ["UNAVAILABLE"]
    assert await world.sql("select code from project where code = 'LONG'") == []


async def test_a_commit_that_the_server_warns_of_is_of_unknown_outcome(world: World) -> None:
    """So it says of one that is on no standby, because somebody told it to wait no longer."""
    client = await world.client("owner")
    await prepare(world, WARNED)

    answer = await mutate(client, "createProject", {"code": "WARNED", "name": "Warned"})

    assert answer.codes == ["UNKNOWN_OUTCOME"]
