"""Who takes the file of an export, by which way, and with which rights."""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from models.errors import TamperedError
from schema.cookie import SESSION
from tests.support.browser import OWN_PAGE, Browser
from tests.support.device import enrolled
from tests.support.export import Made, ask, exporting, make, take, work
from tests.support.mutation import mutate
from tests.support.scene import Looking
from tests.support.world import Client, World


async def link_to(client: Client, made: Made) -> str:
    """Return a link to the file of an export."""
    answer = await mutate(client, "createExportLink", {"id": made.shown["id"]}, "url")
    assert answer.data["createExportLink"]["errors"] == [], answer.data
    return str(answer.data["createExportLink"]["url"])


async def attempts(world: World, since: Any) -> list[tuple[str, str, str]]:
    """Return the attempts to take a file since a moment."""
    return [
        (entry["action"], entry["outcome"], entry["error_code"])
        for entry in await world.entries(since=since, kinds=["ATTEMPT"])
    ]


def refused(response: httpx.Response, status: int, code: str) -> None:
    """Expect a refusal that holds nothing of the file."""
    assert response.status_code == status
    assert response.json()["errors"][0]["extensions"]["code"] == code
    assert "record_id" not in response.text


async def test_nobody_else_takes_it(world: World) -> None:
    made = await make(world, await world.client("manager"))
    for who, status, code in (
        ("owner", 403, "FORBIDDEN"),
        ("auditor", 403, "FORBIDDEN"),
        ("collector", 404, "NOT_FOUND"),
        ("other-owner", 404, "NOT_FOUND"),
    ):
        client, since = await world.client(who), await world.now()

        response = await take(client, made.shown["id"], made.shown["fileName"])

        refused(response, status, code)
        assert await attempts(world, since) == [("export.download", "DENIED", code)]
    refused(await take(world.anonymous, made.shown["id"], made.shown["fileName"]), 401, "UNAUTHENTICATED")


async def test_who_lost_a_permission_that_was_used_gets_nothing(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)
    url = await link_to(manager, made)
    member, project = await world.member_id("manager"), await world.project_id("CANAL")
    given = {"userId": f"User:{member}", "projectId": f"Project:{project}", "role": "VIEWER", "reason": "Less."}
    answer = await mutate(await world.client("owner"), "assignProjectRole", given)
    assert answer.data["assignProjectRole"]["errors"] == []
    since = await world.now()

    for response in (await take(manager, made.shown["id"], made.shown["fileName"]), await world.http.get(url)):
        refused(response, 403, "FORBIDDEN")
        assert response.json()["errors"][0]["extensions"]["permission"] in {
            "record:read_confidential",
            "record:read_personal",
        }
    assert await attempts(world, since) == [("export.download", "DENIED", "FORBIDDEN")] * 2
    link = await mutate(manager, "createExportLink", {"id": made.shown["id"]}, "url")
    assert [one["code"] for one in link.data["createExportLink"]["errors"]] == ["FORBIDDEN"]


async def test_a_link_is_enough_until_it_is_over(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)

    url = await link_to(manager, made)

    response = await world.http.get(url)
    assert response.content == made.content
    assert response.headers["content-disposition"].startswith("attachment; filename=")
    token = parse_qs(urlsplit(url).query)["link"][0]
    stored = await world.sql("select * from data_export")
    assert token not in repr(stored)
    await world.sql("alter table data_export disable trigger all")
    await world.sql("update data_export set link_expires_at = now()")
    await world.sql("alter table data_export enable trigger all")
    since = await world.now()
    refused(await world.http.get(url), 401, "UNAUTHENTICATED")
    assert await attempts(world, since) == [("export.download", "DENIED", "UNAUTHENTICATED")]


async def test_a_newer_link_ends_the_one_before(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)

    first, second = await link_to(manager, made), await link_to(manager, made)

    refused(await world.http.get(first), 401, "UNAUTHENTICATED")
    assert (await world.http.get(second)).status_code == 200
    refused(await world.http.get(second[:-4] + "AAAA"), 401, "UNAUTHENTICATED")


async def test_a_link_ends_with_the_sign_in_that_made_it(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)
    url = await link_to(manager, made)
    assert (await manager.run("mutation { signOut { errors { code } } }")).status == 200

    refused(await world.http.get(url), 401, "UNAUTHENTICATED")


async def test_a_link_opens_no_other_export(world: World) -> None:
    manager, owner = await world.client("manager"), await world.client("owner")
    mine, theirs = await make(world, manager), await make(world, owner)
    url = await link_to(manager, mine)

    other = url.replace(mine.shown["id"].removeprefix("Export:"), theirs.shown["id"].removeprefix("Export:"))

    refused(await world.http.get(other), 401, "UNAUTHENTICATED")


async def test_a_blocked_device_takes_nothing(world: World) -> None:
    admin = await world.client("admin")
    given = {"userId": f"User:{await world.member_id('manager')}", "platform": "ANDROID", "model": "Pixel 8"}
    registered = await mutate(admin, "registerDevice", {**given, "serialNumber": "SN-X"}, "device { id }")
    device_id = registered.data["registerDevice"]["device"]["id"]
    manager = await (await enrolled(world, device_id)).client(world, "manager")
    made = await make(world, manager)
    pending = await ask(manager)
    blocked = {"id": device_id, "expectedVersion": 2, "reason": "Lost."}
    answer = await mutate(admin, "blockDevice", blocked, "device { status }")
    assert answer.data["blockDevice"]["errors"] == [], answer.data

    refused(await take(manager, made.shown["id"], made.shown["fileName"]), 401, "UNAUTHENTICATED")
    await work(exporting(world))
    status = await world.value("select status from data_export where id = $1", UUID(pending.removeprefix("Export:")))
    assert status == "REVOKED"


async def test_a_cookie_counts_only_for_a_page_of_ours(world: World) -> None:
    browser = Browser(world.http)
    assert (await browser.sign_in(world, "manager")).status == 200
    made = await make(world, await world.client("manager"))
    address = f"/exports/{made.shown['id'].removeprefix('Export:')}/{made.shown['fileName']}"
    cookie = {"cookie": f"{SESSION}={browser.session}"}

    own = await world.http.get(address, headers={**OWN_PAGE, **cookie})

    assert own.content == made.content
    refused(await world.http.get(address, headers=cookie), 401, "UNAUTHENTICATED")
    foreign = {**OWN_PAGE, **cookie, "sec-fetch-site": "cross-site"}
    refused(await world.http.get(address, headers=foreign), 401, "UNAUTHENTICATED")


async def test_who_looks_as_somebody_takes_none_of_theirs(world: World) -> None:
    made = await make(world, await world.client("manager"))
    owner = await world.client("owner")
    looking = Looking(owner, f"User:{await world.member_id('manager')}")

    response = await take(owner, made.shown["id"], made.shown["fileName"], **{"fieldward-run-as": looking.acting_as})

    refused(response, 403, "FORBIDDEN")


async def test_what_is_not_ready_is_a_conflict_and_other_names_are_not_found(world: World) -> None:
    manager = await world.client("manager")
    export_id = await ask(manager)
    refused(await take(manager, export_id, "manifest.json"), 409, "CONFLICT")
    await work(exporting(world))

    refused(await take(manager, export_id, "other.csv"), 404, "NOT_FOUND")
    assert (await world.http.get("/exports/nothing/manifest.json")).status_code == 404


async def test_a_head_says_what_a_get_would_and_takes_nothing(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)
    url = await link_to(manager, made)
    signed = {"authorization": f"Bearer {manager.token}"}
    address = f"/exports/{made.shown['id'].removeprefix('Export:')}/{made.shown['fileName']}"
    before = await world.now()

    by_link = await world.http.head(url)
    looked = [await world.http.head(address, headers={**signed, **more}) for more in ({}, {"range": "bytes=1-9"})]
    nobody = await world.http.head(address)

    assert [(one.status_code, one.content) for one in (by_link, *looked)] == [(200, b""), (200, b""), (206, b"")]
    assert nobody.status_code == 401
    assert [entry["action"] for entry in await world.entries(since=before)] == []
    for head, more in ((looked[0], {}), (looked[1], {"range": "bytes=1-9"})):
        got = await world.http.get(address, headers={**signed, **more})
        unlike = {"date", "fieldward-request-id", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in unlike} == {
            k: v for k, v in got.headers.items() if k not in unlike
        }


async def test_a_download_goes_on_where_it_broke_off(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)
    whole, name = made.content, made.shown["fileName"]

    for asked, status, expected in (
        ("bytes=100-199", 206, whole[100:200]),
        ("bytes=100-", 206, whole[100:]),
        (f"bytes=0-{len(whole) + 5}", 206, whole),
        ("bytes=5-2", 200, whole),
        ("lines=1-2", 200, whole),
    ):
        response = await take(manager, made.shown["id"], name, range=asked)
        assert (response.status_code, response.content) == (status, expected), asked
    response = await take(manager, made.shown["id"], name, range=f"bytes={len(whole)}-")
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(whole)}"


async def test_a_piece_that_was_changed_or_moved_is_not_given_out(world: World) -> None:
    manager = await world.client("manager")
    made = await make(world, manager)
    await world.sql("update data_export_piece set content = set_byte(content, 60, get_byte(content, 60) # 1)")

    since = await world.now()

    with pytest.raises(TamperedError):
        await take(manager, made.shown["id"], made.shown["fileName"])

    assert ("export.download", "FAILED", "INTERNAL") in await attempts(world, since)
