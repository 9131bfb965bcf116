"""A lost connection: before the commit nothing was changed and that is said, during the commit nobody can know."""

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
