"""Pulling what changed of sites: to whom it is told, and what is shown of it."""

import pytest

from auth.permission import Permission as P
from tests.api.test_site import REASON, a_site, change
from tests.support.access import person_with
from tests.support.feed import cursor_of, page, pull, told
from tests.support.location import make_sensitive
from tests.support.mutation import mutate
from tests.support.world import World


async def gone(world: World, site: str, *, version: int) -> None:
    """Delete a site."""
    given = {"id": site, "expectedVersion": version, "reason": REASON}
    payload = (await mutate(await world.client("manager"), "deleteSite", given)).data["deleteSite"]
    assert payload["errors"] == [], payload


@pytest.mark.parametrize("key", ["owner", "auditor", "manager", "collector", "viewer"])
async def test_who_sees_a_project_is_told_what_became_of_its_sites(world: World, key: str) -> None:
    client = await world.client(key)
    start = await cursor_of(client)

    site = (await a_site(world))["id"]
    made, after = await pull(client, start, denied=["FORBIDDEN"], types=["SITE"])
    assert (await change(world, "manager", site, name="Old well"))["errors"] == []
    changed, later = await pull(client, after, denied=["FORBIDDEN"])
    await gone(world, site, version=2)
    deleted, _ = await pull(client, later, denied=["FORBIDDEN"])

    assert told(made) == [("CREATED", site)]
    assert (made[0]["type"], made[0]["site"]["name"]) == ("SITE", "Well at the gate")
    assert told(changed) == [("UPDATED", site)]
    assert changed[0]["site"]["name"] == "Old well"
    assert (changed[0]["record"], changed[0]["project"], changed[0]["device"]) == (None, None, None)
    assert told(deleted) == [("DELETED", site)]
    assert deleted[0]["site"] is None


@pytest.mark.parametrize("key", ["member", "other-owner"])
async def test_who_does_not_see_a_project_is_told_nothing_of_its_sites(world: World, key: str) -> None:
    client = await world.client(key)
    start = await cursor_of(client)

    site = (await a_site(world))["id"]
    answer = await page(client, start, types=["SITE"])
    await gone(world, site, version=1)
    after = await page(client, start)

    assert answer.data["changes"]["changes"] == after.data["changes"]["changes"] == []
    assert site.removeprefix("Site:") not in answer.text + after.text


async def test_who_reads_records_and_no_sites_is_told_of_no_site(world: World) -> None:
    await person_with(world, "member", {P.PROJECT_READ, P.RECORD_READ}, level="PROJECT")
    client = await world.client("member")
    start = await cursor_of(client)

    await a_site(world)

    assert (await pull(client, start))[0] == []


async def test_a_site_of_a_sensitive_project_is_told_without_its_place_to_who_may_not_read_that(world: World) -> None:
    await make_sensitive(world)
    viewer, manager = await world.client("viewer"), await world.client("manager")
    starts = await cursor_of(viewer), await cursor_of(manager)
    since = await world.now()

    await a_site(world)
    denied = await page(viewer, starts[0], types=["SITE"])
    shown, _ = await pull(manager, starts[1], types=["SITE"])

    assert denied.codes == ["FORBIDDEN"]
    assert [one["site"]["exactLocation"] for one in denied.body["data"]["changes"]["changes"]] == [None]
    assert shown[0]["site"]["exactLocation"] is not None
    reads = await world.entries(since=since, kinds=["READ"])
    assert {entry["membership_id"] for entry in reads if entry["entity"] == "site"} == {
        await world.member_id("manager")
    }


async def test_types_and_a_project_narrow_what_is_told_of_sites(world: World) -> None:
    owner = await world.client("owner")
    start = await cursor_of(owner)
    canal, parks = [f"Project:{await world.project_id(code)}" for code in ("CANAL", "PARKS")]

    first = (await a_site(world))["id"]
    second = (await a_site(world, projectId=parks, who="owner"))["id"]

    assert told((await pull(owner, start, types=["SITE"]))[0]) == [("CREATED", first), ("CREATED", second)]
    assert told((await pull(owner, start, types=["RECORD", "DEVICE"]))[0]) == []
    assert told((await pull(owner, start, project=canal))[0]) == [("CREATED", first)]
    assert told((await pull(owner, start, project=parks))[0]) == [("CREATED", second)]
