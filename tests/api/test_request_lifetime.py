"""A request from its first byte to its end: who is looked up when, and what is left behind, whatever goes wrong."""

import asyncio
import gc
import json

import pytest
import structlog
from starlette.types import ASGIApp
from structlog.processors import JSONRenderer
from structlog.testing import CapturingLogger

import fieldward.web.failure
from fieldward.logs import describe_exception
from models.row import Row
from schema.context import RequestContext
from tests.support.raw_request import ASKED, JSON, Request, answered, given, open_transactions, put
from tests.support.world import World, connect


async def test_nobody_is_looked_up_before_all_of_the_request_is_there(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    held, reached = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await held.wait()

    running = asyncio.create_task(put(app, Request((ASKED[:5], ASKED[5:]), (JSON, token), before_body=hold)))
    await reached.wait()
    await asyncio.sleep(0.05)
    assert await open_transactions(world) == 0
    await world.sql("alter table session disable trigger all")
    await world.sql("update session set revoked_at = now() where revoked_at is null")
    held.set()
    sent = await running

    assert sent is not None
    assert json.loads(sent.body)["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


async def test_a_request_that_is_broken_off_leaves_nothing_open(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    request = given({"query": "{ records { nodes { id } } }"}, token)
    connection = await connect(world.superuser)
    try:
        async with connection.transaction():
            await connection.execute("lock table record")
            running = asyncio.create_task(put(app, request))
            async with asyncio.timeout(5):
                while not await world.value("select count(*) from pg_locks where not granted"):
                    continue
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        await connection.close()

    assert await open_transactions(world) == 0
    assert (await answered(app, request)).status == 200


async def test_what_was_read_waits_for_no_collector(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    texts = (
        "{ records(first: 20) { totalCount nodes { id comment collector device { model } measurements { value } } } }",
        "{ projects { nodes { code records(first: 2) { nodes { id project { name } } } } } }",
        f'mutation {{ createRecord(input: {{projectId: "{await world.project_id("CANAL")}", siteCode: "W-1",'
        ' collectedAt: "2026-01-02T03:04:05Z", medium: WATER}) { record { id } errors { code } } }',
    )

    for text in texts:
        assert "errors" not in json.loads((await answered(app, given({"query": text}, token))).body)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for text in texts:
            await answered(app, given({"query": text}, token))
        gc.collect()
        left = [one for one in gc.garbage if isinstance(one, RequestContext | Row)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()

    assert left == []


async def test_who_may_not_look_as_another_is_told_so(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())

    for body in (ASKED, b"{"):
        sent = await answered(app, given(body, token, (b"fieldward-run-as", b"role:VIEWER")))
        assert (sent.status, sent.media_type) == (403, "application/json")
        missing = {"code": "FORBIDDEN", "permission": "access:run_as", "scope": "ORGANIZATION"}
        assert [error["extensions"] for error in sent.errors] == [missing]
        assert await open_transactions(world) == 0


async def test_what_nobody_expected_is_masked(world: World, app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    sink = CapturingLogger()
    logger = structlog.wrap_logger(sink, processors=[describe_exception, JSONRenderer()])
    monkeypatch.setattr(fieldward.web.failure, "log", logger)
    await world.sql("alter table session rename to elsewhere")

    sent = await answered(app, given(ASKED, token))

    request_id = sent.header("x-request-id")
    assert sent.status == 500
    assert sent.errors == [
        {
            "message": "Something went wrong on the server. Ask its operator, naming the request id.",
            "extensions": {"code": "INTERNAL", "requestId": request_id},
        }
    ]
    ((line,),) = (call.args for call in sink.calls)
    logged = json.loads(line)
    assert logged["request_id"] == request_id
    assert logged["error"] == "asyncpg.exceptions.UndefinedTableError"
    assert "elsewhere" not in line
    assert await open_transactions(world) == 0


async def test_a_database_that_is_away_is_said_to_be(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    name = await world.value("select current_database()")
    await world.sql(f"alter database {name} connection limit 0")
    await world.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await asyncio.sleep(0.1)  # Until the pools have noticed.

    sent = await answered(app, given(ASKED, token))

    assert (sent.status, sent.media_type) == (503, "application/json")
    assert [error["extensions"] for error in sent.errors] == [{"code": "UNAVAILABLE"}]
