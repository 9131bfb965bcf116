"""What somebody would try against what goes in and out: exports, imports, links, quotas."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from auth.action import Action
from auth.permission import Permission as P
from fieldward.database import Databases
from fieldward.web.app import build_app
from fieldward.web.upload import MOST_OF_ONE
from resolvers.change import Intent, commit_change
from resolvers.import_ending import end_imports
from resolvers.trail import job_actor
from tests.api.test_export_download import attempts, link_to, refused
from tests.api.test_service_account_token import _from
from tests.conftest import Template
from tests.support.access import program_input
from tests.support.export import make, take
from tests.support.importing import (
    CREATE_MAPPING,
    FIELD_SHEET,
    demo_file,
    fresh_project,
    run_to_the_end,
    send,
    show,
    start,
    uploaded,
)
from tests.support.importing import make as make_import
from tests.support.location import declare, rewrite
from tests.support.mutation import mutate
from tests.support.world import Client, World, json_body

TAKES = (P.EXPORT_READ, P.EXPORT_READ_CONFIDENTIAL, P.PROJECT_READ, P.RECORD_READ, P.RECORD_EXPORT)

Limited = Callable[[int], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def limited(world: World, template: Template, databases: str, keystore_database: str) -> AsyncIterator[Limited]:
    """Makes the application of the world, of which so many requests may be asked in a while."""
    made: list[httpx.AsyncClient] = []
    postgres = template.postgres
    reached = Databases(
        main={**postgres.service(databases).dsn_parameters()},
        keystore={**postgres.service(keystore_database).dsn_parameters()},
    )

    async def make_app(requests: int) -> httpx.AsyncClient:
        quotas = {"rate_limit_requests": requests, "anonymous_rate_limit_requests": requests}
        app = build_app(template.settings.model_copy(update=quotas), reached, api=world.api)
        made.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test"))
        return made[-1]

    yield make_app
    for one in made:
        await one.aclose()


@pytest.mark.parametrize("form", ["CSV", "GEOJSON"])
async def test_places_that_became_sensitive_do_not_leave_in_a_file_of_before(world: World, form: str) -> None:
    viewer, manager = await world.client("viewer"), await world.client("manager")
    theirs, managers = await make(world, viewer, form), await make(world, manager, form)
    url = await link_to(viewer, theirs)
    assert await declare(world) == []
    since = await world.now()

    for response in (await take(viewer, theirs.shown["id"], theirs.shown["fileName"]), await world.http.get(url)):
        refused(response, 403, "FORBIDDEN")
        assert response.json()["errors"][0]["extensions"]["permission"] == "record:read_confidential"
    assert await attempts(world, since) == [("export.download", "DENIED", "FORBIDDEN")] * 2
    # Who may read the exact places takes them still; and what is made from now on holds cells, for whoever asks.
    assert (await take(manager, managers.shown["id"], managers.shown["fileName"])).content == managers.content
    await rewrite(world)
    refused(await take(viewer, theirs.shown["id"], theirs.shown["fileName"]), 403, "FORBIDDEN")
    again = await make(world, viewer)
    rows = list(csv.DictReader(io.StringIO(again.content.decode(), newline="")))
    assert {row["record_location_is_coarse"] for row in rows if row["project_code"] == "CANAL"} == {"true"}


@pytest.mark.parametrize("field", ["COLLECTOR", "COMMENT", "RESULT_COMMENT", "LATITUDE", "LONGITUDE"])
async def test_a_mapping_keeps_nothing_in_plain_that_records_keep_sealed(world: World, field: str) -> None:
    manager, project = await world.client("manager"), await world.project_id("CANAL")
    constants = [{"field": one, "value": "51.2345"} for one in {field, *_beside(field)}]
    given: dict[str, Any] = {
        "projectId": f"Project:{project}",
        "name": "Sheet",
        "mapping": {**FIELD_SHEET, "constants": constants},
    }

    payload = (await manager.run(CREATE_MAPPING, {"input": given})).data["createImportMapping"]

    assert [(one["code"], one["field"][:3]) for one in payload["errors"]] == [
        ("INVALID_INPUT", ["input", "mapping", "constants"])
    ]
    assert await world.value("select count(*) from import_mapping") == 0
    assert await world.value("select count(*) from change where columns::text like '%51.2345%'") == 0


async def test_who_sends_a_file_slowly_holds_no_connection_to_the_database(world: World) -> None:
    manager, project = await world.client("manager"), await world.project_id("CANAL")
    made = await make_import(manager, project, b"x" * 10)
    held: list[int] = []

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * 5
        await asyncio.sleep(0.1)
        held.append(
            await world.value(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and state = 'idle in transaction'"
            )
        )
        yield b"x" * 5

    headers = {"authorization": f"Bearer {manager.token}", "upload-offset": "0"}
    response = await world.http.put(made.path, content=slowly(), headers=headers)

    assert response.json() == {"received": 10, "size": 10, "status": "UPLOADED"}
    assert held == [0]


async def test_nobody_sends_any_number_of_files_at_a_time(world: World) -> None:
    manager, project = await world.client("manager"), await world.project_id("CANAL")
    made = await make_import(manager, project, b"x")
    headers = {"authorization": f"Bearer {manager.token}", "upload-offset": "0"}
    waits, began = asyncio.Event(), asyncio.Semaphore(0)

    async def held_back() -> AsyncIterator[bytes]:
        began.release()
        await waits.wait()
        # Never sent: it would be the whole file.
        if not waits.is_set():
            yield b"x"

    sending = [
        asyncio.create_task(world.http.put(made.path, content=held_back(), headers=headers)) for _ in range(MOST_OF_ONE)
    ]
    for _ in sending:
        await began.acquire()

    response = await send(manager, made.path, b"x")
    waits.set()
    await asyncio.gather(*sending)

    assert response.status_code == 429
    assert response.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert response.headers["retry-after"] == "5"
    assert (await send(manager, made.path, b"x")).status_code == 200


async def test_files_count_by_the_quota_of_operations(world: World, limited: Limited) -> None:
    manager, project = await world.client("manager"), await world.project_id("CANAL")
    made, export = await make_import(manager, project, b"x"), await make(world, manager)
    url = await link_to(manager, export)
    http = await limited(2)
    asking: list[Callable[[], Awaitable[httpx.Response]]] = [
        lambda: take(Client(http, manager.token), export.shown["id"], export.shown["fileName"], range="bytes=0-0"),
        lambda: send(Client(http, manager.token), made.path, b"", offset=1),
    ]
    for _ in range(2):
        assert (await asking[0]()).status_code == 206
        assert (await http.get(url)).status_code == 200
    since = await world.now()

    asking.append(lambda: http.get(url))
    for again in asking:
        response = await again()
        assert response.status_code == 429
        assert response.json()["errors"][0]["extensions"]["detail"] == "QUOTA_SPENT"
        assert int(response.headers["retry-after"]) >= 1
    assert await world.entries(since=since, kinds=["READ", "ATTEMPT"]) == []


async def test_a_link_of_a_program_is_for_no_other_address_than_the_program(world: World, template: Template) -> None:
    given = {**program_input(TAKES), "networks": ["127.0.0.0/8"]}
    answer = await mutate(await world.client("owner"), "createServiceAccount", given, "token")
    program = Client(world.http, answer.data["createServiceAccount"]["token"])
    made = await make(world, program)
    url = await link_to(program, made)
    assert (await world.http.get(url)).content == made.content
    http, _ = await _from(world, template, "198.51.100.7", "")
    since = await world.now()

    async with http:
        response = await http.get(url)

    refused(response, 401, "UNAUTHENTICATED")
    assert await attempts(world, since) == [("export.download", "DENIED", "FOREIGN_NETWORK")]


async def test_no_file_that_was_sent_before_brings_back_who_was_erased(world: World) -> None:
    owner, code = await world.client("owner"), await fresh_project(world)
    made = [await uploaded(world, "owner", code, demo_file()) for _ in range(2)]
    waiting = await make_import(owner, await world.project_id(code), b"x" * 10)
    await start(owner, made[0])

    # As an erasure does (`resolvers/erasure.py`), without the keys, which the worlds of other tests have as well.
    organization = await world.organization_id("clearwater")
    await commit_change(Intent(Action.USER_ERASE, job_actor(organization), reason="They asked for it."), end_imports)

    assert await world.value("select count(*) from import_chunk") == 0
    assert {(await show(owner, one))["status"] for one in (*made, waiting)} == {"EXPIRED"}
    assert [one["code"] for one in (await start(owner, made[1]))["errors"]] == ["CONFLICT"]
    assert (await send(owner, waiting.path, b"x" * 10)).status_code == 409
    await run_to_the_end()
    project = await world.project_id(code)
    assert await world.value("select count(*) from record where project_id = $1", project) == 0


async def test_what_is_refused_for_its_document_counts_as_a_request(world: World, limited: Limited) -> None:
    http = await limited(2)
    viewer = Client(http, (await world.client("viewer")).token)
    unknown = json_body({"documentId": f"sha256:{'0' * 64}"})

    answers = [await viewer.post(unknown) for _ in range(3)]

    assert [one.codes for one in answers] == [["PERSISTED_QUERY_NOT_FOUND"]] * 2 + [["RATE_LIMITED"]]


def _beside(field: str) -> set[str]:
    return {"LATITUDE", "LONGITUDE"} if field in {"LATITUDE", "LONGITUDE"} else set()
