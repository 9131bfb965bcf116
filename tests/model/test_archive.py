"""Everything of an organization, out and in again: an equal organization, over every field."""

import io
import json
import zipfile
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from auth.errors import ForbiddenError
from auth.permission import Permission as P
from auth.role import ORGANIZATION_ROLES, OrganizationRole
from fieldward.cli.environment import operator
from models.errors import ConflictError, InvalidInputError
from models.inventory import entities
from resolvers.account import NewPerson, create_organization, member_viewer
from resolvers.archive import LEFT_OUT, archived, tables_left_out
from resolvers.archive_import import COLUMNS_NOT_PUT_IN, NOT_PUT_IN, ArchiveImport, import_archive
from resolvers.archive_writing import write_archive
from resolvers.record_import import import_results
from resolvers.trail import Actor
from resolvers.wqx_table import as_text
from tests.api.test_site import a_site
from tests.support.access import (
    behind_the_triggers,
    define_role,
    give_in_project,
    make_program,
    person_with,
    program_input,
)
from tests.support.export import exporting, look, take, work
from tests.support.importing import fresh_project, many_rows, run_to_the_end, start, uploaded
from tests.support.keeping import grow_old, hold, keep_for, lift, run_now
from tests.support.location import rewrite
from tests.support.mutation import Stage, mutate, prepare_with_people, with_import, with_review
from tests.support.retention import age, decide
from tests.support.scene import SOON, done
from tests.support.world import Client, World

Tables = dict[str, dict[str, dict[str, Any]]]
ROOT = "root@restored.example"
READS = {P.RECORD_READ, P.RECORD_READ_CONFIDENTIAL, P.RECORD_READ_PERSONAL}


def tables_of(content: bytes) -> Tables:
    """Return the rows of an archive by table and id, read without any code of ours."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        found: Tables = {}
        for table, said in manifest["tables"].items():
            lines = archive.read(said["file"])
            assert sha256(lines).hexdigest() == said["sha256"]
            rows = [json.loads(line) for line in lines.splitlines()]
            assert len(rows) == said["rows"]
            assert all(list(row) == said["columns"] for row in rows)
            found[table] = {row["id"]: row for row in rows}
    return found


async def furnish(world: World) -> None:
    """Have something in every column that is put in again, made through the API where that is not long."""
    stage = await with_import(world, await with_review(world, await prepare_with_people(world)))
    owner, manager = await world.client("owner"), await world.client("manager")
    await done(owner, "decideAccessReviewItem", {"id": stage.review_item, "decision": "KEEP"})
    sensitive = {"id": stage.project, "expectedVersion": 1, "sensitive": True}
    await done(owner, "setLocationSensitivity", sensitive)
    await rewrite(world)
    well = {"siteCode": "WELL-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER", "latitude": 51.47873}
    measured = {"characteristic": "pH", "value": 7.1, "valueReported": "7.1", "comment": "=Calm.", "unit": "None"}
    measured["qualifier"] = "J"
    given = {"projectId": stage.project, **well, "longitude": -0.29561, "collector": "Zoë Żak", "comment": "Deep."}
    made = await mutate(manager, "createRecord", {**given, "measurements": [measured]})
    assert made.data["createRecord"]["errors"] == []
    await a_site(world, code="WELL-9", description="Behind the mill.")
    build = {"clientName": "dashboard", "clientVersion": "1", "documents": ["{ __typename }"]}
    await done(owner, "registerTrustedDocuments", build)
    await lift(world, await hold(world, stage.project))
    program = await make_program(world, {P.PROJECT_READ, P.DATA_IMPORT_READ, P.RECORD_IMPORT, *READS})
    sheet = await uploaded(world, "manager", "CANAL", many_rows(2))
    assert (await start(program.client, sheet))["errors"] == []
    await run_to_the_end()
    await done(manager, "approveRecord", {"id": stage.submitted, "expectedVersion": 2})
    await hold(world, stage.site)
    await furnish_access(world, stage)
    await furnish_periods(world)
    await furnish_directly(world, stage, await a_project_without_comments(world))


async def a_project_without_comments(world: World) -> UUID:
    """Have a project that says all of itself and does without a field, and return its id."""
    owner = await world.client("owner")
    given = {
        "code": "SPRING",
        "name": "Springs",
        "description": "All.",
        "startsOn": "2026-01-01",
        "endsOn": "2027-01-01",
    }
    made = (await mutate(owner, "createProject", given, "project { id }")).data["createProject"]
    assert made["errors"] == []
    off = {"id": made["project"]["id"], "expectedVersion": 1, "fieldsOff": ["COMMENT"], "emptyKept": False}
    await done(owner, "setProjectFields", off)
    return UUID(made["project"]["id"].removeprefix("Project:"))


async def furnish_access(world: World, stage: Stage) -> None:
    """Have roles of the organization's own that end, and a program that is kept to a network, and was revoked."""
    owner = await world.client("owner")
    own = await define_role(owner, {P.DEVICE_READ}, level="ORGANIZATION")
    ending = {"userId": stage.person, "expiresAt": SOON}
    await done(owner, "assignOrganizationRole", {**ending, "customRoleId": own})
    await done(owner, "assignProjectRole", {**ending, "customRoleId": stage.role, "projectId": stage.project})
    program = {**program_input({P.PROJECT_READ}), "networks": ["192.0.2.0/24"]}
    made = await done(owner, "createServiceAccount", program, "serviceAccount { id version }")
    account = made["serviceAccount"]
    await done(owner, "revokeServiceAccount", {"id": account["id"], "expectedVersion": account["version"]})


async def furnish_periods(world: World) -> None:
    """Have periods of data and of the trail, and of each one that was taken back."""
    for kind, days in (("RECORD", 3650), ("SITE", 400), ("SITE", None)):
        await keep_for(world, kind, days)
    for kind, days in (("READ", 730), ("ATTEMPT", 90), ("ATTEMPT", None)):
        await decide(world, kind, days)


async def furnish_directly(world: World, stage: Stage, project_id: UUID) -> None:
    """Fill what takes a long story: what a run, a client's build or a background job notes."""
    member_id = UUID(stage.person.removeprefix("User:"))
    device_id = UUID(stage.device.removeprefix("Device:"))
    organization_id = await world.organization_id("clearwater")
    sheet = await uploaded(world, "manager", "CANAL", b"Stelle;Zeit;T;pH\n", kind="CSV", mapping=stage.import_mapping)
    noted = (
        "drops_switched_off = true, error_code = 'INVALID_INPUT', error_message = 'No.', run = 1,"
        f" started_by_id = '{member_id}', started_on_id = '{device_id}'"
    )
    await behind_the_triggers(world, "data_import", noted, "id = $1", UUID(sheet.id.removeprefix("DataImport:")))
    cut_down = "scope = '{record:import}'"
    await behind_the_triggers(world, "data_import", cut_down, "started_by_program_id is not null")
    closed = f"closed_at = now(), closed_by_id = '{member_id}'"
    await behind_the_triggers(world, "access_review", closed, "organization_id = $1", organization_id)
    await behind_the_triggers(world, "device", "last_seen_at = now()", "id = $1", device_id)
    policies = "people_documents = 'ANY', program_documents = 'ANY'"
    await behind_the_triggers(world, "organization", policies, "id = $1", organization_id)
    await behind_the_triggers(world, "project", "fields_emptying = true", "id = $1", project_id)
    past = "password_changed_at = '2026-01-01', sessions_valid_from = '2026-01-01'"
    who = "id = (select user_id from membership where id = $1)"
    await behind_the_triggers(world, "user_account", past, who, member_id)


async def archive_of(world: World, slug: str, email: str) -> bytes:
    """Return an archive of an organization, as a member may read it."""
    viewer = await member_viewer(slug, email=email)
    file = io.BytesIO()
    await write_archive(world.services, Actor(viewer.organization_id, operator().origin, viewer), file)
    return file.getvalue()


async def empty_organization(world: World, slug: str = "restored") -> Actor:
    """Make an organization with an owner and nothing else, and return who puts something into it."""
    owner = NewPerson(
        ROOT if slug == "restored" else f"root@{slug}.example", "correct horse battery", "Root", OrganizationRole.OWNER
    )
    organization_id, _ = await create_organization(world.services, operator(), slug=slug, name="Empty", owner=owner)
    return replace(operator(), organization_id=organization_id)


async def put_in(actor: Actor, content: bytes) -> ArchiveImport:
    """Put an archive into an organization."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return await import_archive(actor, archive)


async def test_an_archive_put_into_an_empty_organization_makes_an_equal_one(world: World) -> None:
    await furnish(world)
    content = await archive_of(world, "clearwater", world.email("owner"))

    report = await put_in(await empty_organization(world), content)

    before, after = tables_of(content), tables_of(await archive_of(world, "restored", ROOT))
    root = (await member_viewer("restored", email=ROOT)).membership_id
    restored_id = str(await world.organization_id("restored"))
    for table, rows in before.items():
        if table in NOT_PUT_IN:
            assert table not in report.put_in
            continue
        there = dict(after[table])
        if table == "organization":
            (mine,), (theirs,) = rows.values(), there.values()
            assert theirs["id"] == restored_id
            rows, there = {"": mine}, {"": theirs}
        if table in {"membership", "user_account"}:
            there = {key: row for key, row in there.items() if key in rows}
            assert len(after[table]) == len(rows) + 1
        assert set(there) == set(rows), table
        for row_id, row in rows.items():
            for column, value in row.items():
                if (table, column) in COLUMNS_NOT_PUT_IN:
                    continue
                if (table, column, value) == ("data_import", "status", "UPLOADED"):
                    # Its file is not in the archive.
                    value = "EXPIRED"
                assert there[row_id][column] == value, (table, column)
    assert root is not None
    # Every column of the inventory is one that was compared, or one that is named with the reason.
    compared = {(table, column) for table, rows in before.items() for row in rows.values() for column in row}
    for entity in archived():
        if entity.name in NOT_PUT_IN or not before[entity.name]:
            continue
        for one in entity.columns.values():
            if one.is_in_api and one.name != "organization_id":
                assert (entity.name, one.name) in compared


async def test_every_table_that_is_put_in_is_tried(world: World) -> None:
    await furnish(world)

    before = tables_of(await archive_of(world, "clearwater", world.email("owner")))

    assert [name for name, rows in before.items() if not rows and name not in NOT_PUT_IN] == []


async def test_every_column_that_is_put_in_is_tried_with_a_value(world: World) -> None:
    await furnish(world)

    before = tables_of(await archive_of(world, "clearwater", world.email("owner")))

    empty = {
        (entity.name, one.name)
        for entity in archived()
        if entity.name not in NOT_PUT_IN
        for one in entity.columns.values()
        if one.is_in_api and one.name != "organization_id" and (entity.name, one.name) not in COLUMNS_NOT_PUT_IN
        if all(row[one.name] is None for row in before[entity.name].values())
    }
    assert empty == set()


async def test_every_table_is_in_the_archive_or_named_with_the_reason() -> None:
    named = dict(tables_left_out())

    assert {one.name for one in entities()} == {one.name for one in archived()} | set(named)
    assert all(named.values())
    assert set(LEFT_OUT) <= {one.name for one in entities()}
    assert set(NOT_PUT_IN) <= {one.name for one in archived()}
    columns = {(one.name, name) for one in archived() for name in one.columns}
    assert set(COLUMNS_NOT_PUT_IN) <= columns


async def test_what_was_put_in_is_found_opened_and_searched_as_before(world: World) -> None:
    await furnish(world)
    await put_in(await empty_organization(world), await archive_of(world, "clearwater", world.email("owner")))
    answer = await world.anonymous.run(
        "mutation($i: SignInInput!) { signIn(input: $i) { accessToken errors { code } } }",
        {"i": {"email": ROOT, "password": "correct horse battery"}},
    )
    client = Client(world.http, answer.data["signIn"]["accessToken"])

    found = await client.run(
        'query { records(first: 5, filter: {collector: {eq: "zoë żak"}})'
        " { nodes { siteCode collector comment exactLocation { latitude } measurements { comment } } } }"
    )

    assert found.data["records"]["nodes"] == [
        {
            "siteCode": "WELL-1",
            "collector": "Zoë Żak",
            "comment": "Deep.",
            "exactLocation": {"latitude": 51.47873},
            "measurements": [{"comment": "=Calm."}],
        }
    ]


async def test_files_that_were_imported_before_are_known_where_the_archive_was_put_in(world: World) -> None:
    content, code = many_rows(3), await fresh_project(world)
    await start(await world.client("owner"), await uploaded(world, "owner", code, content))
    await run_to_the_end()
    project_id = await world.project_id(code)
    actor = await empty_organization(world)
    await put_in(actor, await archive_of(world, "clearwater", world.email("owner")))
    root = await member_viewer("restored", email=ROOT)
    before = await world.fingerprint()

    again = await import_results(replace(actor, viewer=root), root, as_text(io.BytesIO(content)), project_id=project_id)

    assert (again.records_created, again.measurements_created) == (0, 0)
    assert (again.records_known, again.measurements_known, again.rejected) == (3, 3, 0)
    assert await world.fingerprint() == before


async def test_putting_it_in_twice_changes_nothing(world: World) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)
    first = await put_in(actor, content)
    before = await world.fingerprint()

    second = await put_in(actor, content)

    assert first.put_in["record"] > 0
    assert second.put_in["record"] == second.put_in["measurement"] == 0
    assert second.known["record"] == first.put_in["record"]
    assert await world.fingerprint() == before


async def test_a_period_is_put_in_last_and_deletes_nothing_for_a_week(world: World) -> None:
    await grow_old(world, 3650)
    await keep_for(world, "RECORD", 365)
    await decide(world, "READ", 730)
    content = await archive_of(world, "clearwater", world.email("owner"))
    cutoff = "select fieldward_trail_cutoff($1, 'READ')"

    report = await put_in(await empty_organization(world), content)

    restored = await world.organization_id("restored")
    assert set(list(report.put_in)[-2:]) == {"data_retention", "trail_retention"}
    assert await run_now(world, "restored") == {}
    assert await world.value(cutoff, restored) is None
    await age(world, 8, "organization_id = $1 and action = 'organization.import'", restored)
    assert await world.value(cutoff, restored) is not None
    assert (await run_now(world, "restored"))["RECORD"].deleted == report.put_in["record"] > 0


async def test_what_is_not_empty_takes_no_other_archive(world: World) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    other = replace(operator(), organization_id=await world.organization_id("suncoast"))
    before = await world.fingerprint()

    with pytest.raises(ConflictError, match="not empty"):
        await put_in(other, content)

    assert await world.fingerprint() == before


async def test_an_archive_that_was_changed_is_refused_before_anything_is_written(world: World) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(changed, "w") as other:
        for name in archive.namelist():
            held = archive.read(name)
            other.writestr(name, held.replace(b"CANAL", b"CANAX") if name == "project.jsonl" else held)
    actor = await empty_organization(world)
    before = await world.fingerprint()

    for bad in (changed.getvalue(), _zip_of({"manifest.json": b"{}"}), _zip_of({})):
        with pytest.raises(InvalidInputError):
            await put_in(actor, bad)

    assert await world.fingerprint() == before


async def test_an_archive_is_for_those_who_may_take_everything(world: World) -> None:
    for who in ("manager", "auditor", "collector"):
        since = await world.now()
        with pytest.raises(ForbiddenError):
            await archive_of(world, "clearwater", world.email(who))
        (entry,) = await world.entries(since=since)
        assert (entry["action"], entry["outcome"]) == ("export.archive", "DENIED")
        given = {"reason": "We move."}
        answer = await mutate(await world.client(who), "createArchive", given, "export { id }")
        assert [one["code"] for one in answer.data["createArchive"]["errors"]] == ["FORBIDDEN"]


async def test_an_admin_s_archive_is_made_in_the_background_and_holds_what_they_read(world: World) -> None:
    admin = await world.client("admin")
    answer = await mutate(admin, "createArchive", {"reason": "We move."}, "export { id }")
    export_id = answer.data["createArchive"]["export"]["id"]
    await work(exporting(world, batch=30))

    shown = await look(admin, export_id)

    assert shown["status"] == "READY", shown
    content = (await take(admin, export_id, shown["fileName"])).content
    tables = tables_of(content)
    assert len(tables["record"]) == await world.value(
        "select count(*) from record where organization_id = $1", await world.organization_id("clearwater")
    )
    assert "user_agent" not in next(iter(tables["audit_entry"].values()))
    assert shown["records"] == len(tables["record"])
    assert b"$argon2id$" not in content


@pytest.mark.parametrize("lacks", ["values", "rows"])
async def test_what_its_maker_may_not_read_everywhere_is_named_and_such_an_archive_is_not_put_in(
    world: World, lacks: str
) -> None:
    missing = {
        "values": {P.RECORD_READ_PERSONAL, P.RECORD_READ_CONFIDENTIAL, P.SITE_READ_CONFIDENTIAL},
        "rows": {one for one in P if one.noun == "record"},
    }[lacks]
    await person_with(world, "member", ORGANIZATION_ROLES[OrganizationRole.ADMIN] - missing, level="ORGANIZATION")
    await give_in_project(world, "member", role="COLLECTOR")
    whole = said_left_out(await archive_of(world, "clearwater", world.email("admin")))

    content = await archive_of(world, "clearwater", world.email("member"))

    takes = {
        f"{table}.{name}": why
        for table, columns in said_left_out(content).items()
        for name, why in columns.items()
        if why != whole[table].get(name)
    }
    # In one project they read them, so there is something of them, and no more than that.
    if lacks == "values":
        assert {name: why.split()[3] for name, why in takes.items()} == {
            "record.exact_location": "record:read_confidential",
            "record.collector": "record:read_personal",
            "record.comment": "record:read_confidential",
            "record.reviewer": "record:read_personal",
            "record.review_reason": "record:read_confidential",
            "measurement.comment": "record:read_confidential",
            "measurement.source_row": "record:read_confidential",
            "site.exact_location": "site:read_confidential",
        }
        collectors = {row["collector"] for row in tables_of(content)["record"].values()} - {None}
        assert {one.startswith("person-") for one in collectors} == {True, False}
    else:
        shown = set(manifest_said(content)["tables"]["record"]["columns"])
        assert {f"record.{name}" for name in shown} <= set(takes)
    assert all(why.endswith(" everywhere: not all values are there.") for why in takes.values())
    actor = await empty_organization(world)
    before = await world.fingerprint()
    with pytest.raises(InvalidInputError, match=r"could not read all of \w+\.\w+\. Takes the permission \w+:\w+ every"):
        await put_in(actor, content)
    assert await world.fingerprint() == before


def manifest_said(content: bytes) -> Any:
    """Return the manifest of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read("manifest.json"))


def said_left_out(content: bytes) -> dict[str, dict[str, str]]:
    """Return which columns of each table are left out, with the reasons."""
    return {table: said["left_out"] for table, said in manifest_said(content)["tables"].items()}


def _zip_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


async def test_what_its_project_does_without_is_left_out_and_the_report_says_so(world: World) -> None:
    await furnish(world)
    project = await world.project_id("CANAL")
    given = {
        "id": f"Project:{project}",
        "expectedVersion": await world.value("select version from project where id = $1", project),
        "fieldsOff": ["COMMENT", "MEASUREMENT_COMMENT"],
        "emptyKept": False,
        "reason": "Nobody reads them.",
    }
    # What was said before stays where it was said.
    await done(await world.client("owner"), "setProjectFields", given)
    content = await archive_of(world, "clearwater", world.email("owner"))
    before = tables_of(content)

    report = await put_in(await empty_organization(world), content)

    after = tables_of(await archive_of(world, "restored", ROOT))
    for table in ("record", "measurement"):
        own = [row_id for row_id, row in before[table].items() if row["project_id"] == str(project)]
        assert any(before[table][row_id]["comment"] is not None for row_id in own), table
        assert [after[table][row_id]["comment"] for row_id in own] == [None] * len(own), table
        assert report.not_put_in[f"{table}.comment"] == "Its project does without it."
    # With them goes the row of the file that they were said in, and nothing else, nor anything of another project.
    assert {name for name in report.not_put_in if "." in name} <= {
        "record.comment",
        "measurement.comment",
        "measurement.source_row",
    }
    others = {row["project_id"]: row["comment"] for row in before["record"].values()}
    assert set(others) > {str(project)}
    for row_id, row in before["record"].items():
        if row["project_id"] != str(project):
            assert after["record"][row_id]["comment"] == row["comment"]
