"""The history of a record."""

from tests.support.mutation import mutate, prepare
from tests.support.world import World

HISTORY = """
query($id: ID!) { record(id: $id) { history(direction: ASC) { totalCount pageInfo { endCursor hasNextPage } edges { cursor } nodes {
  version entryId at action channel requestId user { name } serviceAccount { name } device { model } reason
  changes { operation entity entityId columns { column before after } }
} } } }
"""


async def test_x(world: World) -> None:
    stage = await prepare(world)
    collector = await world.client("collector")
    for v, given in (
        (1, {"siteCode": "W-10", "comment": "second"}),
        (2, {"measurements": [{"characteristic": "pH", "value": 7.5, "comment": "secret"}]}),
        (3, {"siteCode": "W-1"}),
    ):
        print((await mutate(collector, "updateRecord", {"id": stage.draft, "expectedVersion": v, **given})).body)
    import json

    for who in ("owner", "viewer", "collector"):
        print(who, json.dumps((await (await world.client(who)).run(HISTORY, {"id": stage.draft})).body, indent=1))
    rows = (await (await world.client("owner")).run(HISTORY, {"id": stage.draft})).data["record"]["history"]["nodes"]
    q = "query($id: ID!, $at: DateTime!) { recordAsOf(id: $id, at: $at) { asOf siteCode comment collector version createdBy { name } project { code } measurements { measurementId characteristic value comment } } }"
    for r in rows:
        for who in ("collector", "viewer"):
            print(r["at"], (await (await world.client(who)).run(q, {"id": stage.draft, "at": r["at"]})).body)
    assert 0
