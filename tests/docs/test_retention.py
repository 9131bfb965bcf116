"""What `docs/retention.md` shows is run, and its tables are held to the code."""

import re
from pathlib import Path

from models.data_kind import MOST_DAYS, WAITING_DAYS
from models.inventory import entities
from resolvers.legal_hold import SUBJECTS
from resolvers.retention_due import ARRIVED_DAYS, DELETED, periods
from resolvers.retention_run import MOST_PARTS, MOST_ROWS
from tests.support.world import World

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "retention.md").read_text()
GRAPHQL = re.findall(r"^```graphql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_what_the_page_shows_is_what_the_api_does(world: World) -> None:
    how_long, keep, look, place, switch = GRAPHQL
    owner = await world.client("owner")
    project = f"Project:{await world.project_id('CANAL')}"

    decided = (await owner.run(keep)).data["setRetention"]
    assert decided == {"retention": {"kind": "RECORD", "days": 3650}, "errors": []}
    kept = {one["data"]: one["days"] for one in (await owner.run(how_long)).data["retention"] if one["data"]}
    assert kept.pop("RECORD") == 3650
    assert set(kept.values()) == {None}
    assert (await owner.run(look)).data["retentionPreview"]["held"] == 0
    held = (await owner.run(place, {"subject": project})).data["placeLegalHold"]
    assert (held["errors"], held["legalHold"]["on"]) == ([], "PROJECT")
    listed = re.search(r"`(legalHolds\(.*?\} \})`", PAGE)
    assert listed is not None
    nodes = (await owner.run(f"{{ {listed[1]} }}")).data["legalHolds"]["nodes"]
    assert [one["subjectId"] for one in nodes] == [project]
    version = await world.value("select version from project where code = 'CANAL'")
    switched = (await owner.run(switch, {"project": project, "version": version})).data["setProjectFields"]
    assert switched == {"project": {"fieldsOff": ["LOCATION", "COLLECTOR"], "fieldsEmptying": True}, "errors": []}


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    section = PAGE.partition("\n## How long what is kept\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d+) days \|$", section, re.MULTILINE)
    assert rows == [(kind.value, str(one.least_days)) for kind, one in periods().items()]
    assert f"The longest period is {MOST_DAYS} days." in PAGE
    assert f"in batches of {MOST_ROWS} rows or about {MOST_PARTS} measurements" in PAGE
    assert WAITING_DAYS == ARRIVED_DAYS == 7
    holds = PAGE.partition("\n## Legal holds\n")[2]
    assert re.findall(r"^\| An? `(\w+)` \|", holds, re.MULTILINE) == list(SUBJECTS)


async def test_the_page_names_all_that_no_period_deletes_and_that_people_stay_for(world: World) -> None:
    found = await world.sql(
        "select distinct conrelid::regclass::text as holder from pg_constraint"
        " where contype = 'f' and confdeltype = 'a' and confrelid = 'membership'::regclass"
    )
    deleted = {table for how in DELETED.values() for table in (how.entity.name, *(how.parts or {}))}
    staying = {row["holder"] for row in found} - deleted
    for_good = {one.name for one in entities() if one.kept.says.startswith("For good")}

    section = PAGE.partition("\n### People who stay\n")[2].partition("\n## ")[0]
    good, _, until = section.partition("| Kept until then |")

    named = [
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE))) for part in (good, until)
    ]
    assert named == [sorted(staying & for_good), sorted(staying - for_good)]
