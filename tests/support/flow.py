"""A world that is reached over HTTP, in a server process of its own, and what is asked of each refusal there."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import httpx

from tests.conftest import Template
from tests.support.alarm_servers import Mailbox, mailbox
from tests.support.mail import text_of
from tests.support.served import serving
from tests.support.server import free_port, own_data_directory
from tests.support.world import Answer, Client, World

PATIENCE_S: Final = 30.0
"""Seconds that what a job of the server does may take."""
SIGN_IN: Final = """
mutation($input: SignInInput!) {
  signIn(input: $input) { accessToken refreshToken clientToken challenge { token methods } errors { code message } }
}
"""
ME: Final = "{ viewer { user { id } } }"
OF_INCIDENTS: Final = frozenset({"incident", "incident_evidence", "incident_cursor", "alarm_delivery"})

T = TypeVar("T")


@dataclass
class Flow:
    """A world whose clients call server processes, and the mailbox that those send to.

    worlds: the same for each process, the first of which is `world`.
    """

    worlds: list[World]
    box: Mailbox

    @property
    def world(self) -> World:
        """The world as the first process shows it."""
        return self.worlds[0]

    async def link_mailed_to(self, address: str, kind: str, *, besides: tuple[str, ...] = ()) -> str:
        """Return the token of a link of a kind that came by mail to an address, and is none of those known already."""
        pattern = re.compile(rf"/account#{kind}=([\w.~-]+)")

        async def newest() -> str | None:
            for recipients, message in zip(self.box.recipients, self.box.messages, strict=True):
                found = pattern.search(text_of(message))
                if address in recipients and found is not None and found[1] not in besides:
                    return found[1]
            return None

        return await until(newest)

    async def subjects_to(self, address: str, count: int) -> list[str]:
        """Return what the letters to an address are about, once there are so many."""

        def subjects() -> list[str]:
            letters = zip(self.box.recipients, self.box.messages, strict=True)
            return [str(message["subject"]) for recipients, message in letters if address in recipients]

        async def all_there() -> list[str]:
            return found if len(found := subjects()) >= count else []

        return await until(all_there)


@asynccontextmanager
async def flowing(
    template: Template, world: World, directory: Path, *, processes: int = 1, **settings: str
) -> AsyncIterator[Flow]:
    """Run server processes over the world's database, and a mail server; yield the world as they show it.

    settings: of the processes, by their names in the environment.
    """
    port = free_port()
    data = own_data_directory(template.settings.data_directory, directory / "data")
    async with AsyncExitStack() as stack:
        box = stack.enter_context(mailbox(port, None))
        worlds = []
        for number in range(processes):
            log = directory / f"server-{number}.log"
            url = stack.enter_context(
                serving(world.service, world.keystore, data, log, mail_port=port, settings=settings)
            )
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
            worlds.append(replace(world, http=http, _clients={}))
        yield Flow(worlds, box)


@dataclass
class Noted:
    """What the trail says of a block, once that is over."""

    entries: list[asyncpg.Record]


@asynccontextmanager
async def refused(
    world: World,
    *noted: tuple[str, str],
    outcome: str = "DENIED",
    whose: UUID | None = None,
    is_counted: bool = False,
) -> AsyncIterator[Noted]:
    """Require that what is asked in the block changes no row, and leaves these entries and no other.

    What came back is for the block to look at. Incidents are apart: a job opens one about what was refused.

    noted: of each attempt the action and the error's code, in their order. outcome: of all of them.
    whose: the member whom the entries name, where somebody is known by then. is_counted: whether the sign-in counts
    it as a wrong proof, of which there may be few; that is a change of its own.
    """
    since, before = await world.now(), await world.fingerprint()
    found = Noted([])
    yield found
    after = await world.fingerprint()
    changed = {name for name in after if after[name] != before[name]} - OF_INCIDENTS
    assert changed == ({"session"} if is_counted else set()), changed
    written = [one for one in await world.entries(since=since) if one["channel"] == "API"]
    entries = [one for one in written if one["kind"] == "ATTEMPT"]
    told = [(one["action"], one["outcome"], one["error_code"]) for one in entries]
    assert told == [(action, outcome, code) for action, code in noted], told
    done = [one["action"] for one in written if one["kind"] == "CHANGE"]
    assert done == (["session.refuse_proof"] if is_counted else []), done
    if whose is not None:
        assert {one["membership_id"] for one in entries} == {whose}
    found.entries = entries


def said(answer: Answer) -> list[str]:
    """Return the codes of all that is wrong: with the operation, or in the payload of its one mutation."""
    assert answer.status == 200, answer.text
    if answer.errors:
        assert all(value is None for value in (answer.body["data"] or {}).values()), answer.text
        return answer.codes
    [payload] = answer.data.values()
    return [error["code"] for error in (payload or {}).get("errors", [])]


def detail(answer: Answer) -> str | None:
    """Return the one thing that the one error says to a program."""
    [error] = answer.errors
    found: str | None = error["extensions"].get("detail")
    return found


async def signed_in(world: World, key: str, **more: Any) -> tuple[Client, dict[str, Any]]:
    """Sign a person of the demo in; return a client, and all that the sign-in gave."""
    given = {**world.credentials(key), **more}
    payload: dict[str, Any] = (await world.anonymous.run(SIGN_IN, {"input": given})).data["signIn"]
    assert payload["errors"] == [], payload
    return Client(world.http, payload["accessToken"], password=given["password"]), payload


async def incident(world: World, rule: str) -> asyncpg.Record:
    """Return the incident that the server's jobs open by a rule, once there is one."""
    return (await until(lambda: world.sql("select * from incident where rule = $1", rule)))[0]


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Return what is found, once it is more than nothing; fails where that takes too long."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await look()
            if found:
                return found
            await asyncio.sleep(0.1)
