"""Makes the server, and what it stands on, fail and crash, in ways that leave something behind."""

import asyncio
import signal
import threading
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from fieldward.cli.environment import embedded_databases, services
from fieldward.embedded_roles import SERVICE
from fieldward.settings import Settings
from models.encryption.keystore import CHANNEL, KeyStore
from models.encryption.owner import person_owner
from tests.support.canary_story import ENTRIES, Story
from tests.support.canary_writing import Writing
from tests.support.entry import insert_entry
from tests.support.served import Caller
from tests.support.world import connect


async def fail(story: Story, writing: Writing) -> None:
    """Make the server meet what it does not expect: a value that was changed, a connection that is cut."""
    made, word = story.house, story.canaries.plant
    owner = writing.owner
    record = {"projectId": writing.cast.targets.project, "siteCode": "W-1", "medium": "WATER"}
    create = "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
    update = "mutation($input: UpdateRecordInput!) { updateRecord(input: $input) { record { id } errors { code } } }"

    def make() -> str:
        given = {**record, "collectedAt": "2026-02-03T04:05:06Z", "comment": word("comment that is spoilt")}
        return str(owner.run(create, {"input": given}).data["createRecord"]["record"]["id"])

    def change(subject: str, how: str) -> Any:
        values = {name: word(f"{name}, {how}") for name in ("comment", "collector", "reason")}
        return owner.run(update, {"input": {"id": subject, "expectedVersion": 1, **values}})

    spoilt, held = make(), make()
    connection = await connect(made.postgres.superuser("fieldward"))
    try:
        async with connection.transaction():
            organization = await connection.fetchval("select id from organization")
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            blob = await connection.fetchval("select comment from record where id = $1", UUID(spoilt.partition(":")[2]))
            other = blob[:-1] + bytes([blob[-1] ^ 1])
            await connection.execute(
                "update record set comment = $1 where id = $2", other, UUID(spoilt.partition(":")[2])
            )
        query = f'{{ record(id: "{spoilt}") {{ comment siteCode }} }}'
        broken = await asyncio.to_thread(owner.run, query)
        assert [one["extensions"]["code"] for one in broken.errors] == ["INTERNAL"]
        await asyncio.to_thread(change, spoilt, "over a spoilt one")
        async with connection.transaction():
            await connection.execute("select from record where id = $1 for update", UUID(held.partition(":")[2]))
            waiting = asyncio.create_task(asyncio.to_thread(change, held, "cut off"))
            pid = await _waiting(connection)
            told = await connection.fetch("select * from pg_stat_activity")
            await connection.execute("select pg_terminate_backend($1)", pid)
            cut = await waiting
        assert cut.errors or cut.data["updateRecord"]["errors"], cut.text
    finally:
        await connection.close()
    (made.output / "activity while something waits").write_text("\n".join(map(str, told)))
    await _end_keys(story)
    if story.is_talkative:
        await _spoil_keys(story)


async def _spoil_keys(story: Story) -> None:
    """Have a command, which was given a password, meet data keys that were changed."""
    made, word = story.house, story.canaries.plant
    connection = await connect(made.postgres.superuser("fieldward_keys"))
    spoil = (
        "update wrapped_key set wrapped = set_byte(wrapped, 25, get_byte(wrapped, 25) # 1) where wrapped is not null"
    )
    as_owner = ["--organization", "acme", "--as", story.accounts["owner"].email]
    arguments = ["user", "create", f"{word('address')}@acme.example", "--name", word("name"), *as_owner]
    try:
        await connection.execute(spoil)
        done = await asyncio.to_thread(made.command, *arguments, given=word("password") + "\n")
        await connection.execute(spoil)
    finally:
        await connection.close()
    assert done.returncode == 1
    assert "models.errors.TamperedError" in done.stderr
    assert "Traceback" not in done.stderr


async def _waiting(connection: asyncpg.Connection) -> int:
    """Return the process of the connection that waits for a lock."""
    for _ in range(500):
        pid = await connection.fetchval(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and usename = $1", SERVICE
        )
        if pid is not None:
            return int(pid)
        await asyncio.sleep(0.02)
    raise AssertionError("nothing waits")


async def _end_keys(story: Story) -> None:
    """End data keys, with somebody listening."""
    made = story.house
    listener = await connect(made.postgres.superuser("fieldward_keys"))
    heard = asyncio.Event()

    def hear(_: object, __: int, ___: str, payload: object) -> None:
        story.notified.append(str(payload))
        if len(story.notified) == 2:
            heard.set()

    await listener.add_listener(CHANNEL, hear)
    settings = Settings(data_directory=made.data, password_cost="test")
    owner = person_owner(UUID(int=5))
    async with services(settings, embedded_databases(made.postgres, owner=False)) as built:
        store = KeyStore()
        await built.keyring.load([owner])
        await store.retire([key_id := built.keyring.current(owner).id])
        await store.destroy([key_id])
        await asyncio.wait_for(heard.wait(), 10)
    await listener.close()


async def crash(story: Story, url: str) -> None:
    """End the server in the ways that leave most behind: while it works, and twice."""
    made = story.house
    for number in (signal.SIGABRT, signal.SIGKILL):
        url = made.serve() if number is signal.SIGKILL else url
        account = story.accounts["owner"]
        caller = made.caller("last", url, sign_in={"email": account.email, "password": account.password})
        asked = threading.Event()

        def ask(one: Caller = caller, begun: threading.Event = asked) -> None:
            while True:
                try:
                    one.run(ENTRIES)
                except httpx.TransportError:
                    return
                begun.set()

        asking = threading.Thread(target=ask)
        asking.start()
        assert asked.wait(30)
        assert made.stop(number) == -number
        asking.join(30)
    # A stack of functions, without what they hold.
    assert any(b"Fatal Python error: Aborted" in path.read_bytes() for path in made.output.glob("*.err"))
