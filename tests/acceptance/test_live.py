"""Being told of changes as they come, on every process: to whom, how soon, from where on, and for how long."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
import websockets

from auth.permission import Permission as P
from auth.principal import Channel, Origin
from auth.token import AccessClaims, issue_access_token
from models.base import new_id
from models.membership import MembershipStatus
from models.transaction import CHANGED
from resolvers.account import member_viewer, set_member_status
from resolvers.trail import Actor
from schema.cookie import SESSION
from tests.conftest import Template
from tests.support.access import behind_the_triggers, give_in_project, in_project, make_program, refusals
from tests.support.browser import Browser
from tests.support.device import enrolled
from tests.support.feed import a_record, deleted, renamed, told, write, writing_slowly
from tests.support.live import LiveClient, connecting, two_servers
from tests.support.mutation import mutate
from tests.support.world import Client, World, connect

SOON_S = 5.0
"""Seconds within which a connection is closed on which nothing is heard any more."""
ME = "{ viewer { user { name } } }"
ROUNDS = 12
"""Of the race between writing and revoking."""


@pytest.fixture
async def servers(world: World, template: Template, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """Where two processes listen."""
    async with two_servers(world, template, tmp_path) as urls:
        yield urls


async def canal(world: World) -> str:
    """Return the first project's id."""
    return f"Project:{await world.project_id('CANAL')}"


async def test_what_is_done_through_one_process_is_told_by_each_to_who_sees_it(
    world: World, servers: tuple[str, str]
) -> None:
    clients = {key: await world.client(key) for key in ("manager", "viewer", "member", "other-owner")}
    project = await canal(world)
    async with (
        connecting(servers[0]) as near,
        connecting(servers[1]) as far,
        connecting(servers[0]) as guarded,
        connecting(servers[1]) as outside,
        connecting(servers[1]) as elsewhere,
        httpx.AsyncClient(base_url=servers[0]) as http,
    ):
        who = {"manager": (near, far), "viewer": (guarded,), "member": (outside,), "other-owner": (elsewhere,)}
        for key, connections in who.items():
            for one in connections:
                await one.init(clients[key].token)
                await one.follow()
        writer = Client(http, clients["manager"].token)
        since = await world.now()

        began = time.monotonic()
        made = await a_record(writer, project, comment="By the fence.")
        pages = [await one.page() for one in (near, far)]
        took = time.monotonic() - began
        denied = await guarded.hear()

        for page in pages:
            assert told(page["changes"]) == [("CREATED", made)]
            assert page["changes"][0]["record"]["comment"] == "By the fence."
        assert took < 2
        assert denied["payload"]["data"]["changes"]["changes"][0]["record"]["comment"] is None
        assert [one["extensions"]["code"] for one in denied["payload"]["errors"]] == ["FORBIDDEN"]
        assert "fence" not in str(guarded.heard)
        assert await outside.hears_nothing()
        assert await elsewhere.hears_nothing()
        # That both were told what was noted is in the trail, as of any reading.
        reads = await world.entries(since=since, kinds=["READ"])
        assert [(one["field"], one["entity_ids"]) for one in reads] == [
            ("comment", [UUID(made.removeprefix("Record:"))])
        ] * 2

        await deleted(writer, made)
        for one in (near, far, guarded):
            assert told((await one.page())["changes"]) == [("DELETED", made)]
        assert await outside.hears_nothing(for_s=0.3)


async def test_who_comes_again_is_told_what_was_missed_and_nothing_twice(
    world: World, servers: tuple[str, str]
) -> None:
    manager, project = await world.client("manager"), await canal(world)
    async with connecting(servers[0]) as live:
        await live.init(manager.token)
        start = await live.follow()
        first = await a_record(manager, project)
        after = (await live.page())["cursor"]
    missed = [await a_record(manager, project) for _ in range(60)]
    await deleted(manager, first)

    async with connecting(servers[1]) as live:
        await live.init(manager.token)
        await live.subscribe(after=after)
        found: list[tuple[str, str]] = []
        has_more = True
        while has_more:
            page = await live.page()
            found += told(page["changes"])
            has_more = page["hasMore"]
        assert found == [*(("CREATED", one) for one in missed), ("DELETED", first)]
        late = await a_record(manager, project)
        assert told((await live.page())["changes"]) == [("CREATED", late)]
        assert await live.hears_nothing(for_s=0.3)
        # From further back, all of it.
        await live.subscribe(id="2", after=start)
        assert told((await live.page(id="2"))["changes"])[:2] == [("CREATED", first), ("CREATED", missed[0])]


async def test_what_commits_late_is_told_once_it_has(world: World, servers: tuple[str, str]) -> None:
    manager, project = await world.client("manager"), await canal(world)
    slow, quick = [await a_record(manager, project) for _ in range(2)]
    organization = await world.organization_id("clearwater")
    async with connecting(servers[0]) as live:
        await live.init(manager.token)
        await live.follow()
        async with writing_slowly(organization, UUID(slow.removeprefix("Record:")), "Slow"):
            await renamed(manager, quick, "Quick")
            assert await live.hears_nothing()
        assert told((await live.page())["changes"]) == [("UPDATED", slow), ("UPDATED", quick)]


async def test_what_was_written_past_the_service_is_told_as_well(world: World, servers: tuple[str, str]) -> None:
    manager, project = await world.client("manager"), await canal(world)
    record = await a_record(manager, project)
    async with connecting(servers[0]) as live:
        await live.init(manager.token)
        await live.follow()
        connection = await connect(world.superuser)
        try:
            # Without a word on the channel.
            async with connection.transaction():
                organization = str(await world.organization_id("clearwater"))
                await connection.execute("select set_config('fieldward.organization_id', $1, true)", organization)
                await connection.execute(
                    "insert into audit_entry"
                    " (id, organization_id, kind, action, outcome, repeated, channel, request_id)"
                    " values ($2, $1, 'CHANGE', 'record.update', 'DONE', 0, 'COMMAND', $2)",
                    UUID(organization),
                    new_id(),
                )
                await connection.execute(
                    "update record set site_name = 'By hand' where id = $1", UUID(record.removeprefix("Record:"))
                )
        finally:
            await connection.close()
        assert (await live.page())["changes"][0]["record"]["siteName"] == "By hand"


# ------------------------------------------------------------------ what is revoked


async def _session(world: World, key: str) -> Client:
    """Return a client of somebody in a sign-in of its own."""
    payload = (await world.sign_in(key)).data["signIn"]
    return Client(world.http, payload["accessToken"], password=world.password(key))


@pytest.mark.parametrize("what", ["a session", "a person", "a device", "a program"])
async def test_who_is_revoked_is_told_nothing_more_and_the_trail_says_so(
    world: World, servers: tuple[str, str], what: str
) -> None:
    project, owner = await canal(world), await world.client("owner")
    manager = await world.client("manager")
    revoked, revoke, noted = await _revocable(world, what)
    async with connecting(servers[1]) as live:
        await live.init(revoked.token)
        await live.follow()
        seen = await a_record(manager, project)
        assert told((await live.page())["changes"]) == [("CREATED", seen)]
        since = await world.now()

        began = time.monotonic()
        await revoke(owner)
        after = await a_record(manager, project)
        code, reason = await live.closed()

        assert (code, time.monotonic() - began < SOON_S) == (4403, True)
        assert reason
        assert after not in str(live.heard)
        attempts = await world.entries(since=since, kinds=["ATTEMPT"])
        assert [(one["action"], one["outcome"], one["error_code"]) for one in attempts] == [noted]
    async with connecting(servers[0]) as live:
        await live.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {revoked.token}"}})
        assert (await live.closed())[0] == 4403


Revoke = Callable[[Client], Awaitable[None]]


async def _revocable(world: World, what: str) -> tuple[Client, Revoke, tuple[str, str, str]]:
    """Return a client, what takes its rights, and how the trail says that it was refused: action, outcome and code."""
    refused = ("session.authenticate", "DENIED", "UNAUTHENTICATED")
    if what == "a session":
        client = await _session(world, "collector")

        async def sign_out(_: Client) -> None:
            assert (await mutate(client, "signOut", {})).data["signOut"]["errors"] == []

        return client, sign_out, refused
    if what == "a person":
        person = await world.member_id("reviewer")
        viewer = await member_viewer("clearwater", email="owner@clearwater.example")
        actor = Actor(viewer.organization_id, Origin(channel=Channel.COMMAND, request_id=new_id()), viewer)

        async def suspend(_: Client) -> None:
            await set_member_status(
                actor,
                organization_id=actor.organization_id,
                membership_id=person,
                status=MembershipStatus.SUSPENDED,
                reason="Left.",
            )

        return await _session(world, "reviewer"), suspend, refused
    if what == "a device":
        given = {"userId": f"User:{await world.member_id('collector')}", "platform": "ANDROID", "model": "Pixel 8"}
        answer = await mutate(await world.client("owner"), "registerDevice", given, "device { id }")
        device = str(answer.data["registerDevice"]["device"]["id"])
        client = await (await enrolled(world, device)).client(world, "collector")

        async def block(owner: Client) -> None:
            assert await refusals(owner, "blockDevice", {"id": device, "expectedVersion": 2}) == []

        return client, block, ("session.authenticate", "DENIED", "DEVICE_BLOCKED")
    program = await make_program(world, {P.PROJECT_READ, P.RECORD_READ}, ["CANAL"])

    async def end(owner: Client) -> None:
        assert await refusals(owner, "revokeServiceAccount", {"id": program.id, "expectedVersion": 1}) == []

    return program.client, end, ("service_account.authenticate", "DENIED", "UNAUTHENTICATED")


async def test_who_loses_a_project_is_told_that_and_nothing_of_it_from_then_on(
    world: World, servers: tuple[str, str]
) -> None:
    manager, member, project = await world.client("manager"), await _session(world, "member"), await canal(world)
    await give_in_project(world, "member", role="VIEWER")
    async with connecting(servers[1]) as live:
        await live.init(member.token)
        await live.follow()
        seen = await a_record(manager, project)
        assert told((await live.page())["changes"]) == [("CREATED", seen)]

        given = await in_project(world, "member")
        assert await refusals(await world.client("owner"), "removeProjectRole", given) == []
        after = await a_record(manager, project)
        page = await live.page()

        assert (page["accessChanged"], page["changes"]) == (True, [])
        assert await live.hears_nothing()
        assert after not in str(live.heard)
        await give_in_project(world, "member", role="REVIEWER")
        assert (await live.page())["accessChanged"] is True
        again = await a_record(manager, project, comment="For reviewers.")
        page = await live.page()
        assert (told(page["changes"]), page["changes"][0]["record"]["comment"]) == (
            [("CREATED", again)],
            "For reviewers.",
        )


async def test_a_change_that_began_before_a_revocation_and_commits_after_it_is_never_told(
    world: World, servers: tuple[str, str]
) -> None:
    project, reader = await canal(world), await _session(world, "collector")
    record = await a_record(await world.client("manager"), project)
    organization = await world.organization_id("clearwater")
    async with connecting(servers[1]) as live:
        await live.init(reader.token)
        await live.follow()
        async with writing_slowly(organization, UUID(record.removeprefix("Record:")), "Too late"):
            assert (await mutate(reader, "signOut", {})).data["signOut"]["errors"] == []
        code, _ = await live.closed()

        assert code == 4403
        assert "Too late" not in str(live.heard)


async def test_in_a_race_nothing_is_told_of_what_was_written_after_the_revocation(
    world: World, servers: tuple[str, str]
) -> None:
    project = await canal(world)
    record = UUID((await a_record(await world.client("manager"), project)).removeprefix("Record:"))
    organization = await world.organization_id("clearwater")
    told_before = 0
    for place in range(ROUNDS):
        reader = await _session(world, "collector")
        revoked = asyncio.Event()
        late: list[str] = []

        async def write_on(place: int = place, revoked: asyncio.Event = revoked, late: list[str] = late) -> None:
            number = 0
            while len(late) < 3:
                name = f"{place}.{number}"
                if revoked.is_set():
                    late.append(name)
                await write(organization, record, name)
                number += 1

        async def revoke(reader: Client = reader, revoked: asyncio.Event = revoked, place: int = place) -> None:
            await asyncio.sleep(0.05 * (place % 6))
            assert (await mutate(reader, "signOut", {})).data["signOut"]["errors"] == []
            revoked.set()

        async with connecting(servers[place % 2]) as live:
            await live.init(reader.token)
            await live.follow()
            async with asyncio.TaskGroup() as group:
                group.create_task(write_on())
                group.create_task(revoke())
                code, _ = await live.closed()
            assert code == 4403
            names = [
                change["record"]["siteName"]
                for said in live.heard
                if said["type"] == "next"
                for change in said["payload"]["data"]["changes"]["changes"]
            ]
            assert not set(names) & set(late), (names, late)
            told_before += len(names)
    assert told_before > 0


# ------------------------------------------------------------------ what is not heard


async def test_where_nothing_is_heard_subscriptions_end_within_seconds_and_go_on_from_their_cursor(
    world: World, servers: tuple[str, str]
) -> None:
    manager, project = await world.client("manager"), await canal(world)
    async with connecting(servers[0]) as first, connecting(servers[1]) as second:
        cursors = []
        for live in (first, second):
            await live.init(manager.token)
            cursors.append(await live.follow())

        began = time.monotonic()
        cut = await world.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'fieldward live watch' and datname = current_database()"
        )
        assert len(cut) == 2
        missed = await a_record(manager, project)
        for live in (first, second):
            assert (await live.closed())[0] == 1013
        assert time.monotonic() - began < SOON_S
    async with asyncio.timeout(10):
        page = await _page_once_it_is_heard_again(servers[0], manager, cursors[0])
    assert told(page["changes"]) == [("CREATED", missed)]


async def _page_once_it_is_heard_again(url: str, client: Client, after: str) -> dict[str, Any]:
    while True:
        async with connecting(url) as live:
            await live.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {client.token}"}})
            try:
                await live.hear()
            except Exception:
                assert (await live.closed())[0] == 1013
                await asyncio.sleep(0.1)
                continue
            await live.subscribe(after=after)
            return await live.page()


async def _require_cut(world: World, live: LiveClient) -> None:
    """Have the listener's server processes be silent: stopped, not ended. The connection is there, and says nothing."""
    asked = (
        "select pid from pg_stat_activity"
        " where application_name = 'fieldward live watch' and datname = current_database()"
    )
    pids = [row["pid"] for row in await world.sql(asked)]
    began = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        code, _ = await live.closed(longest_s=SOON_S)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert (code, time.monotonic() - began < SOON_S) == (1013, True)


async def test_a_silent_listener_counts_as_cut(world: World, servers: tuple[str, str]) -> None:
    manager = await world.client("manager")
    async with connecting(servers[0]) as live:
        await live.init(manager.token)
        await live.follow()
        await _require_cut(world, live)


async def test_who_waits_for_an_answer_at_that_moment_is_cut_as_well(world: World, servers: tuple[str, str]) -> None:
    manager = await world.client("manager")
    organization_id = await world.organization_id("clearwater")
    async with connecting(servers[0]) as live:
        await live.init(manager.token)
        await live.follow()
        superuser = await connect(world.superuser)
        try:
            async with superuser.transaction():
                await superuser.execute("lock table session in access exclusive mode")
                other = await connect(world.superuser)
                await other.execute("select pg_notify($1, $2)", CHANGED, str(organization_id))
                await other.close()
                waits = "select count(*) from pg_locks where not granted and relation = 'session'::regclass"
                for _ in range(100):
                    if await superuser.fetchval(waits):
                        break
                    await asyncio.sleep(0.05)
                await _require_cut(world, live)
        finally:
            await superuser.close()


# ------------------------------------------------------------------ who opened a connection, and by what


async def test_a_page_of_ours_is_let_in_by_its_cookie_and_any_other_is_not(
    world: World, servers: tuple[str, str]
) -> None:
    url = servers[0]
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    cookie = f"{SESSION}={browser.session}"
    async with connecting(url, origin=url, Cookie=cookie) as client:
        await client.init(None)
        await client.follow()
        made = await a_record(await world.client("manager"), f"Project:{await world.project_id('CANAL')}")
        assert told((await client.page())["changes"]) == [("CREATED", made)]
        await client.subscribe(ME, id="q")
        assert (await client.hear())["payload"]["data"]["viewer"]["user"]["name"] == "Mara Mann"

    async with connecting(url, Cookie=cookie) as client:
        await client.send({"type": "connection_init"})
        assert (await client.closed())[0] == 4403
    since = await world.now()
    for origin in ("https://evil.example", url.replace("http", "https"), f"{url}0", "null"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connecting(url, origin=origin, Cookie=cookie):
                pass
        assert refused.value.response.status_code == 403
    attempts = await world.entries(since=since, kinds=["ATTEMPT"])
    assert {one["error_code"] for one in attempts} == {"CROSS_SITE"}
    assert len(attempts) == 4


@pytest.mark.parametrize("how", ["reauthenticate", "changePassword"])
async def test_a_cookie_that_was_renewed_is_told_nothing_more_and_the_new_one_is(
    world: World, servers: tuple[str, str], how: str
) -> None:
    url, manager, project = servers[0], await world.client("manager"), await canal(world)
    browser = Browser(world.http)
    await browser.sign_in(world, "collector")
    before = f"{SESSION}={browser.session}"
    password = world.password("collector")
    given = {
        "reauthenticate": {"password": password},
        "changePassword": {"currentPassword": password, "newPassword": "another long password of mine"},
    }
    renew = f"mutation($input: {how[0].upper()}{how[1:]}Input!) {{ {how}(input: $input) {{ errors {{ code }} }} }}"
    async with connecting(url, origin=url, Cookie=before) as old:
        await old.init(None)
        await old.follow()
        seen = await a_record(manager, project)
        assert told((await old.page())["changes"]) == [("CREATED", seen)]
        since = await world.now()

        began = time.monotonic()
        assert (await browser.run(renew, {"input": given[how]})).data[how]["errors"] == []
        assert f"{SESSION}={browser.session}" != before
        late = await a_record(manager, project)
        code, _ = await old.closed()

        assert (code, time.monotonic() - began < SOON_S) == (4403, True)
        assert late not in str(old.heard)
        attempts = await world.entries(since=since, kinds=["ATTEMPT"])
        assert [(one["action"], one["error_code"]) for one in attempts] == [("session.authenticate", "UNAUTHENTICATED")]
    async with connecting(url, origin=url, Cookie=f"{SESSION}={browser.session}") as new:
        await new.init(None)
        await new.follow()
        made = await a_record(manager, project)
        assert told((await new.page())["changes"]) == [("CREATED", made)]
        assert await new.hears_nothing(for_s=0.3)


async def test_a_connection_ends_with_its_access_token_and_nothing_is_missed(
    world: World, servers: tuple[str, str]
) -> None:
    url = servers[0]
    manager, policy = await world.client("manager"), world.services.sessions
    assert manager.token is not None
    said = jwt.decode(manager.token, options={"verify_signature": False})
    short = issue_access_token(
        await world.services.signing_keys.signer(),
        AccessClaims(UUID(said["sub"]), UUID(said["sid"]), UUID(said["org"])),
        now=datetime.now(UTC),
        issuer=policy.issuer,
        audience=policy.audience,
        lifetime_s=2,
    )
    async with connecting(url) as client:
        await client.init(short)
        after = await client.follow()
        code, reason = await client.closed()
        assert code == 4403
        assert "expired" in reason
    made = await a_record(manager, f"Project:{await world.project_id('CANAL')}")
    async with connecting(url) as client:
        await client.init(manager.token)
        await client.subscribe(after=after)
        assert told((await client.page())["changes"]) == [("CREATED", made)]


async def test_what_is_revoked_is_refused_at_the_next_operation(world: World, servers: tuple[str, str]) -> None:
    url = servers[0]
    payload = (await world.sign_in("collector")).data["signIn"]
    async with connecting(url) as client:
        await client.init(payload["accessToken"])
        await client.subscribe(ME)
        assert (await client.hear())["type"] == "next"
        assert (await client.hear())["type"] == "complete"
        await client.subscribe("mutation { signOut { errors { code } } }", id="out")
        assert (await client.hear())["payload"]["data"]["signOut"]["errors"] == []
        since = await world.now()
        await client.subscribe(ME, id="2")
        assert (await client.closed())[0] == 4403
        assert "Cleo" not in str(client.heard[-1])
    (attempt,) = await world.entries(since=since, kinds=["ATTEMPT"])
    assert (attempt["action"], attempt["outcome"]) == ("session.authenticate", "DENIED")


async def test_who_has_to_add_a_second_factor_first_follows_nothing(world: World, servers: tuple[str, str]) -> None:
    url = servers[0]
    async with connecting(url) as live:
        await live.init((await world.client("manager")).token)
        after = await live.follow()
    await behind_the_triggers(world, "organization", "demands_second_factor = true", "slug = 'clearwater'")

    async with connecting(url) as live:
        await live.init((await world.client("manager")).token)
        await live.subscribe(id="2", after=after)
        said = await live.hear()
    assert (said["id"], said["type"]) == ("2", "error")
    assert [one["extensions"]["code"] for one in said["payload"]] == ["FORBIDDEN"]


async def test_a_subscription_ends_where_its_document_is_trusted_no_more(
    world: World, servers: tuple[str, str]
) -> None:
    async with connecting(servers[0]) as live:
        await live.init((await world.client("manager")).token)
        await live.follow()
        given = {"people": "TRUSTED_ONLY", "reason": "A dashboard is all that people use."}
        answer = await mutate(await world.client("admin"), "setTrustedDocumentPolicy", given, "organization { id }")
        assert answer.data["setTrustedDocumentPolicy"]["errors"] == []

        said = await live.hear(longest_s=SOON_S)
        assert (said["type"], said["payload"].get("data")) == ("next", None)
        assert [one["extensions"]["code"] for one in said["payload"]["errors"]] == ["UNTRUSTED_DOCUMENT"]
        assert await live.hear() == {"id": "1", "type": "complete"}
