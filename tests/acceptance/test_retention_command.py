"""`fieldward retention`, over a database in which something is over, and something is held."""

import json
from datetime import datetime

import pytest

from tests.acceptance.test_incidents_command import run
from tests.conftest import Template
from tests.support.keeping import grow_old, hold, keep_for, records_of
from tests.support.served import url_of
from tests.support.world import World


@pytest.fixture
def reached(world: World, template: Template) -> dict[str, str]:
    """The settings by which commands reach the test's databases."""
    return {
        "database_url": url_of(world.service),
        "keystore_url": url_of(world.keystore),
        "data_directory": str(template.settings.data_directory),
    }


async def test_an_operator_sees_what_would_go_has_it_deleted_and_sees_what_went(
    world: World, reached: dict[str, str]
) -> None:
    ids = await records_of(world, "CANAL")
    await grow_old(world, 1)
    await grow_old(world, 3650, "id = any($1)", ids[:3])
    await keep_for(world, "RECORD", 365)
    await hold(world, f"Record:{ids[0]}")
    organization = str(await world.organization_id("clearwater"))
    before = await world.fingerprint()

    looked = await run("retention", "run", "--dry-run", "--json", **reached)
    assert await world.fingerprint() == before
    done = await run("retention", "run", "--json", **reached)
    again = await run("retention", "run", **reached)
    told = await run("retention", "status", "--json", **reached)
    shown = await run("retention", "status", **reached)

    for one, dry in ((looked, True), (done, False)):
        assert one.returncode == 0, one.stderr
        said = json.loads(one.stdout)
        assert (said["dry_run"], list(said["organizations"])) == (dry, [organization])
        [records] = said["organizations"][organization]
        assert (records["kind"], records["deleted"], records["held"]) == ("RECORD", 2, 1)
    assert await world.value("select count(*) from record where id = any($1)", ids[:3]) == 1
    assert "0 deleted" in again.stdout
    [status] = json.loads(told.stdout)["organizations"][organization]
    assert (status["kind"], status["days"], status["last_run"]["status"]) == ("RECORD", 365, "DONE")
    assert (status["last_run"]["deleted"], status["last_run"]["held"]) == (0, 1)
    assert shown.stdout.startswith(f"{organization} RECORD")
    [entry] = await world.sql("select channel, action from audit_entry where action = 'retention.run'")
    assert entry["channel"] == "COMMAND"


async def test_what_would_go_is_what_goes_also_in_the_week_after_a_decision(
    world: World, reached: dict[str, str]
) -> None:
    ids = await records_of(world, "CANAL")
    await grow_old(world, 3650, "id = any($1)", ids[:3])
    await keep_for(world, "RECORD", 365, days_ago=6)
    await keep_for(world, "SITE", 36500)
    organization = str(await world.organization_id("clearwater"))

    looked = await run("retention", "run", "--dry-run", "--json", **reached)
    done = await run("retention", "run", "--json", **reached)
    told = await run("retention", "status", "--json", **reached)

    for one in (looked, done):
        assert one.returncode == 0, one.stderr
        [sites] = json.loads(one.stdout)["organizations"][organization]
        assert (sites["kind"], sites["deleted"]) == ("SITE", 0)
    assert await world.value("select count(*) from record where id = any($1)", ids[:3]) == 3
    periods = {one["kind"]: one for one in json.loads(told.stdout)["organizations"][organization]}
    assert datetime.fromisoformat(periods["RECORD"]["counts_since"]) > await world.now()
