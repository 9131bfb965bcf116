"""Everything of a person as one archive: what is in it, for whom, and nothing of anybody else."""

import io
import json
import zipfile
from hashlib import sha256
from typing import Any

import pytest

from auth.permission import Permission
from models.inventory import entities
from resolvers.person_archive import KINDS, LEFT_OUT, tables_given
from tests.support.access import make_program
from tests.support.erasure import ask_for_name
from tests.support.export import exporting, look, take, work
from tests.support.mutation import mutate
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.world import Client, World

SHOWN = "export { id status format }"


def test_every_table_is_in_it_or_is_left_out_with_a_reason() -> None:
    tables = {one.name for one in entities()}
    assert tables_given() | set(LEFT_OUT) == tables
    assert tables_given().isdisjoint(LEFT_OUT)
    assert all(LEFT_OUT.values())
    assert len({one.file for one in KINDS}) == len(KINDS)


async def asked(client: Client) -> str:
    """Ask for one's own data, and return the export's id."""
    answer = await mutate(client, "exportMyData", {"reason": "I leave."}, SHOWN)
    payload = answer.data["exportMyData"]
    assert payload["errors"] == [], payload
    assert payload["export"]["format"] == "PERSON"
    return str(payload["export"]["id"])


async def taken(world: World, client: Client, *, batch: int | None = None) -> dict[str, Any]:
    """Ask for one's own data, have the archive made, and return its files, read without any code of ours."""
    export_id = await asked(client)
    await work(exporting(world, batch=batch))
    shown = await look(client, export_id)
    assert shown["status"] == "READY", shown
    response = await take(client, export_id, shown["fileName"])
    assert response.status_code == 200
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    files = {"manifest": manifest}
    for name, said in manifest["kinds"].items():
        content = archive.read(said["file"])
        assert said["sha256"] == sha256(content).hexdigest()
        assert said["bytes"] == len(content)
        files[name] = json.loads(content)
        assert said["rows"] == len(files[name])
    assert {*(said["file"] for said in manifest["kinds"].values()), "manifest.json", "README.txt"} == set(
        archive.namelist()
    )
    return files


@pytest.mark.parametrize("who", ["member", "viewer", "collector", "manager", "auditor", "admin", "owner"])
async def test_everybody_gets_what_is_theirs_and_nothing_of_others(world: World, who: str) -> None:
    client = await world.client(who)
    files = await taken(world, client, batch=7)

    member = str(await world.member_id(who))
    assert [one["email"] for one in files["account"]] == [world.email(who)]
    assert [one["id"] for one in files["memberships"]] == [member]
    assert files["sign_ins"]
    assert {one["membership_id"] for one in files["sign_ins"]} == {member}
    # What they did, with where they were, whoever may read the trail otherwise.
    entries = files["trail"]
    assert {one["membership_id"] for one in entries} <= {member, None}
    assert any(one["action"] == "session.sign_in" and one["ip_address"] for one in entries)
    assert any(one["action"] == "export.create" and one["reason"] == "I leave." for one in entries)
    # Names and addresses of all others are nowhere in it, as far as they are not the collectors of their records.
    text = json.dumps({name: rows for name, rows in files.items() if not name.startswith("records")})
    for other in ("owner", "admin", "auditor", "manager", "reviewer", "collector", "viewer", "member", "other-owner"):
        if other != who:
            assert world.email(other) not in text
    # Nothing that opens a door, in any form.
    shown = {name for kind, rows in files.items() if kind != "manifest" for row in rows for name in row}
    assert shown.isdisjoint({"refresh_digest", "cookie_digest", "email_index", "password_hash", "secret", "digest"})


async def test_records_are_given_as_their_maker_may_read_them_now(world: World) -> None:
    collector = await world.client("collector")
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-02-03T04:05:06Z",
        "medium": "WATER",
        "comment": "Cap was loose.",
        "collector": "Cleo Cole",
        "measurements": [{"characteristic": "pH", "value": 7.1}],
    }
    made = await mutate(collector, "createRecord", given, "record { id }")
    record = made.data["createRecord"]["record"]["id"].removeprefix("Record:")

    files = await taken(world, collector)
    (mine,) = [one for one in files["records"] if one["id"] == record]
    assert (mine["comment"], mine["collector"]) == ("Cap was loose.", "Cleo Cole")
    assert record in {one["id"] for one in files["records_collected"]}
    assert {one["characteristic"] for one in files["measurements"] if one["record_id"] == record} == {"pH"}
    own = await world.member_id("collector")
    made_by_them = await world.value("select count(*) from record where created_by_id = $1", own)
    assert len(files["records"]) == made_by_them

    # Whose role is gone has what they made no more; what is about them stays theirs.
    remove = {
        "userId": f"User:{own}",
        "projectId": given["projectId"],
        "reason": "The season is over.",
    }
    removed = await mutate(await world.client("owner"), "removeProjectRole", remove)
    assert removed.data["removeProjectRole"]["errors"] == []
    files = await taken(world, collector)
    assert files["records"] == files["records_collected"] == files["measurements"] == []
    assert files["account"]


async def test_nobody_else_takes_it_not_even_an_owner(world: World) -> None:
    client = await world.client("viewer")
    export_id = await asked(client)
    await work(exporting(world))
    shown = await look(client, export_id)
    for who in ("owner", "admin", "other-owner"):
        since = await world.now()
        response = await take(await world.client(who), export_id, shown["fileName"])
        assert response.status_code in (403, 404)
        entries = [(one["action"], one["outcome"]) for one in await world.entries(since=since)]
        assert ("export.download", "DENIED") in entries
    assert (await take(world.anonymous, export_id, shown["fileName"])).status_code == 401


async def test_who_can_not_sign_in_any_more_takes_nothing(world: World) -> None:
    client = await world.client("viewer")
    export_id = await asked(client)
    await work(exporting(world))
    shown = await look(client, export_id)
    given = {"userId": f"User:{await world.member_id('viewer')}", "reason": "On leave."}
    await mutate(await world.client("owner"), "suspendUser", given)

    assert (await take(client, export_id, shown["fileName"])).status_code == 401
    assert (await mutate(client, "exportMyData", {})).codes == ["UNAUTHENTICATED"]


async def test_anonymous_programs_and_stale_sign_ins_are_refused(world: World) -> None:
    assert (await mutate(world.anonymous, "exportMyData", {})).codes == ["UNAUTHENTICATED"]
    program = await make_program(world, [Permission.RECORD_READ, Permission.RECORD_EXPORT])
    since = await world.now()
    answer = await mutate(program.client, "exportMyData", {}, SHOWN)
    assert [one["code"] for one in answer.data["exportMyData"]["errors"]] == ["FORBIDDEN"]
    assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [
        ("export.create", "DENIED")
    ]
    client = await world.client("viewer")
    await world.sql("alter table session disable trigger change_update")
    await world.sql("update session set authenticated_at = authenticated_at - interval '1 day'")
    answer = await mutate(client, "exportMyData", {}, SHOWN)
    assert [one["code"] for one in answer.data["exportMyData"]["errors"]] == ["REAUTHENTICATE"]


async def test_it_holds_letters_devices_and_requests_that_are_about_them(world: World) -> None:
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    member = (await client.run("{ viewer { user { id } } }")).data["viewer"]["user"]["id"]
    admin = await world.client("admin")
    given = {"userId": member, "platform": "ANDROID", "model": "Pixel 8", "serialNumber": "SN-77"}
    assert (await mutate(admin, "registerDevice", given)).data["registerDevice"]["errors"] == []
    await mutate(admin, "requestErasure", {"kind": "PERSON", "userId": member, "reason": "They wrote."})
    await ask_for_name(world, "Somebody Else")

    files = await taken(world, client)

    assert [one["serial_number"] for one in files["devices"]] == ["SN-77"]
    assert [(one["kind"], one["reason"]) for one in files["erasure_requests"]] == [("PERSON", "They wrote.")]
    assert "ERASURE_CONFIRM" in {one["kind"] for one in files["letters"]}
    assert "Somebody Else" not in json.dumps(files)
