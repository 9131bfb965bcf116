"""What `docs/graphiql.md` says of the query page, held to the code."""

import re
from pathlib import Path

from tests.support.world import World, json_body

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "graphiql.md").read_text()
QUERY = re.search(r"```graphql\n(.*?)```", PAGE, re.DOTALL)
TITLE = re.compile(r"title: '(\w+)'")


async def test_what_was_looked_at_as_another_is_found_as_the_page_says(world: World) -> None:
    assert QUERY is not None
    admin = await world.client("admin")
    looked = await admin.post(json_body({"query": "{ viewer { role } }"}), **{"fieldward-run-as": "AUDITOR"})
    assert looked.data["viewer"]["role"] == "AUDITOR"

    found = (await admin.run(QUERY[1])).data["auditEntries"]["nodes"]

    assert [(one["user"]["name"], one["actingAs"]) for one in found] == [("Adam Adler", "AUDITOR")]


def test_the_page_names_each_panel() -> None:
    sources = ROOT / "fieldward" / "pages" / "build" / "src"
    titles = {title for file in sources.glob("*.jsx") for title in TITLE.findall(file.read_text())}

    assert titles == set(re.findall(r"^- \*\*(\w+)\*\*", PAGE, re.MULTILINE))
