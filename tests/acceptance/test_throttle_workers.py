"""Guesses at an account are counted over all server processes, and do not shut out who is known."""

from pathlib import Path

from tests.conftest import Template
from tests.support.flow import SIGN_IN, flowing, refused, said, signed_in
from tests.support.world import Answer, World, json_body

FREE = 10
"""Failures of one account from one network that delay nothing."""
WRONG = "wrong but long enough"


async def _sign_in(world: World, password: str, *, client: str = "") -> Answer:
    given = {"email": world.email("manager"), "password": password}
    body = json_body({"query": SIGN_IN, "variables": {"input": given}})
    return await world.anonymous.post(body, **({"fieldward-client": client} if client else {}))


async def test_guesses_at_two_processes_are_counted_together_and_a_known_client_gets_in(
    template: Template, world: World, tmp_path: Path
) -> None:
    async with flowing(template, world, tmp_path, processes=2) as flow:
        first, second = flow.worlds
        _, known = await signed_in(first, "manager")
        right = world.password("manager")

        # Neither process has seen as many as it takes: both together have.
        for number in range(FREE + 1):
            async with refused(world, ("session.sign_in", "UNAUTHENTICATED")):
                assert said(await _sign_in((first, second)[number % 2], WRONG)) == ["UNAUTHENTICATED"]
        counted = await world.sql("select failures from throttle order by failures")
        assert [row["failures"] for row in counted][-1] == FREE + 1
        # A minute, so that a slow machine does not let it pass.
        await world.sql("update throttle set free_at = clock_timestamp() + interval '1 minute'")

        for there in (first, second):
            async with refused(world, ("session.sign_in", "THROTTLED")):
                answer = await _sign_in(there, right)
                assert said(answer) == ["RATE_LIMITED"]
                assert answer.data["signIn"]["accessToken"] is None
        for there in (second, first):
            assert said(await _sign_in(there, right, client=known["clientToken"])) == []
        # What a known client is let do is to be right: its own guesses are counted, wherever it makes them.
        for number in range(FREE + 1):
            wrong = await _sign_in((first, second)[number % 2], WRONG, client=known["clientToken"])
            assert said(wrong) == ["UNAUTHENTICATED"]
        await world.sql("update throttle set free_at = clock_timestamp() + interval '1 minute'")
        for there in (first, second):
            async with refused(world, ("session.sign_in", "THROTTLED")):
                assert said(await _sign_in(there, right, client=known["clientToken"])) == ["RATE_LIMITED"]
