"""Operations whose cost is counted: what they ask and change, on a process that has just started."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from fieldward.cli.environment import operator
from fieldward.database import Databases
from fieldward.demo.load import RESULTS
from fieldward.demo.people import PEOPLE
from fieldward.web.app import build_app
from resolvers.account import member_viewer
from resolvers.record_import import import_results
from tests.conftest import Template
from tests.support.mutation import Stage, mutate, prepare, takes
from tests.support.scene import Looking, create_program
from tests.support.world import Client, World

RUNS: Final = 3
"""On a process that has just started, and twice after that."""


@dataclass(frozen=True)
class Ground:
    """What operations ask and change. `drafts` and `submitted` are records in that state, one for each change of one.

    fresh: a process that has just started.
    """

    world: World
    stage: Stage
    drafts: Sequence[str]
    submitted: Sequence[str]
    program: str
    fresh: httpx.AsyncClient

    async def client(self, who: str) -> Client:
        """Return a client of the fresh process: of a person, of the program, or of nobody."""
        if who == "nobody":
            return Client(self.fresh)
        if who == "program":
            return Client(self.fresh, self.program)
        standing = await self.world.client(who)
        return Client(self.fresh, standing.token, password=standing.password)


@asynccontextmanager
async def fresh_process(world: World, template: Template) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the application as when it has just started: without a key in memory, and nothing known of anybody."""
    reached = Databases({**world.service.dsn_parameters()}, {**world.keystore.dsn_parameters()})
    app = build_app(template.settings, reached, api=world.api)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test") as http:
        yield http


async def lay_ground(world: World, *, drafts: int, submitted: int) -> Ground:
    """Make what operations ask and change. Until there is a fresh process, the world's own answers."""
    stage = await prepare(world)
    collector = await world.client("collector")
    made = [await _draft(collector, stage.project) for _ in range(drafts + submitted)]
    for draft in made[drafts:]:
        await mutate(collector, "submitRecord", {"id": draft, "expectedVersion": 1})
    await _fill_a_page(world, stage.project)
    # The driver looks types up once: the entry of what is sealed, say, has an array.
    await (await world.client("owner")).run("{ records(first: 5) { nodes { comment collector } } }")
    _, token = await create_program(await world.client("owner"), [stage.project])
    return Ground(world, stage, made[:drafts], made[drafts:], token, world.http)


Ask = Callable[[int], Awaitable[None]]
"""Asks once; given which run it is."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation whose cost is counted, and why it costs what it does, where that is not plain."""

    name: str
    begin: Callable[[Ground], Awaitable[Ask]]
    why: str = ""


Given = Callable[[Ground, int], Mapping[str, Any]]


def read(
    name: str,
    query: str,
    given: Given = lambda *_: {},
    *,
    who: str = "manager",
    codes: Sequence[str] = (),
    finds: bool = True,
    why: str = "",
) -> Operation:
    """Return a query that is answered with these errors alone. finds: whether there is something to answer."""

    async def begin(ground: Ground) -> Ask:
        client = await ground.client(who)

        async def ask(run: int) -> None:
            answer = await client.run(query, dict(given(ground, run)))
            assert answer.codes == list(codes), answer.errors
            assert all(answer.body["data"].values()) is finds

        return ask

    return Operation(name, begin, why)


def change(
    name: str,
    mutation: str,
    given: Given,
    shown: str = "",
    *,
    who: str = "manager",
    codes: Sequence[str] = (),
    why: str = "",
) -> Operation:
    """Return a mutation whose payload says these errors alone."""

    async def begin(ground: Ground) -> Ask:
        client = await ground.client(who)

        async def ask(run: int) -> None:
            reason = {"reason": "It is so."} if takes(mutation, "reason") else {}
            answer = await mutate(client, mutation, {**reason, **given(ground, run)}, shown)
            told = [*answer.codes, *(one["code"] for one in (answer.body["data"][mutation] or {}).get("errors", ()))]
            assert told == list(codes), answer.body

        return ask

    return Operation(name, begin, why)


def import_rows(name: str, why: str) -> Operation:
    """Return the import of 20 rows of the demo's file."""

    async def begin(ground: Ground) -> Ask:
        world, person = ground.world, next(one for one in PEOPLE if one.key == "owner")
        viewer = await member_viewer(person.organization, email=person.email)
        project_id = await world.project_id("PARKS")
        with RESULTS.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["ActivityIdentifier"]][:20]
        world.services.keyring.wipe()

        async def ask(run: int) -> None:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "ActivityIdentifier": f"{row['ActivityIdentifier']}-{run}"} for row in rows)
            text.seek(0)
            actor = replace(operator(), organization_id=viewer.organization_id, viewer=viewer)
            report = await import_results(actor, viewer, text, project_id=project_id)
            assert report.measurements_created == len(rows)

        return ask

    return Operation(name, begin, why)


def look_as_another(name: str, query: str, why: str) -> Operation:
    """Return a query of somebody who looks as a viewer."""

    async def begin(ground: Ground) -> Ask:
        client = Looking(await ground.client("owner"), f"VIEWER@{ground.stage.project}")

        async def ask(_: int) -> None:
            assert all((await client.run(query)).data.values())

        return ask

    return Operation(name, begin, why)


async def _draft(client: Client, project: str) -> str:
    given = {"projectId": project, "siteCode": "W-2", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
    answer = await mutate(client, "createRecord", given, "record { id }")
    return str(answer.data["createRecord"]["record"]["id"])


async def _fill_a_page(world: World, project: str) -> None:
    """Put a hundred records more into the project, with nothing sealed in them."""
    await world.sql("alter table record disable trigger all")
    await world.sql(
        "insert into record select p.* from public.record r, generate_series(1, 100) n,"
        " lateral jsonb_populate_record(r, jsonb_build_object("
        "   'id', md5(n::text)::uuid, 'comment', null, 'collector', null, 'creation_digest', null)) p"
        " where r.id = (select id from record where project_id = $1 limit 1)",
        project.removeprefix("Project:"),
    )
    await world.sql("alter table record enable trigger all")
