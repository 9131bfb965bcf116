"""What `docs/audit.md` shows: each query is run, on a record with a past, and answered in the shape that is shown."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.history import make_past
from tests.support.world import World

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "audit.md").read_text()
SHOWN = re.compile(
    r"^```graphql\n(?P<query>.*?)^```\n+```json\n(?P<variables>.*?)^```\n+```json\n(?P<answer>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {re.search(r"query (\w+)", one["query"])[1]: one for one in SHOWN.finditer(PAGE)}  # type: ignore[index]
"""By the operation's name: a query, its variables, and what was answered."""
ASKED_BY = {"Timeline": "auditor", "WhoReadOrChanged": "auditor", "History": "reviewer", "AsOf": "viewer"}


def shape(value: Any) -> Any:
    """Return what of an answer is the same whatever it says: names, lists, and where something is null."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return None if value is None else type(value).__name__


def test_the_page_has_these_examples() -> None:
    assert EXAMPLES.keys() == ASKED_BY.keys()


@pytest.mark.parametrize("name", ASKED_BY)
async def test_a_query_of_the_page_is_answered_in_the_shape_that_is_shown(world: World, name: str) -> None:
    example = EXAMPLES[name]
    past = await make_past(world)
    for reader in ("reviewer", "manager"):
        client = await world.client(reader)
        await client.run("query($id: ID!) { record(id: $id) { comment } }", {"id": past.record})
    told = {
        "record": past.record,
        "user": f"User:{await world.member_id('reviewer')}",
        "from": past.moments[0].isoformat(),
        "to": (await world.now() + timedelta(seconds=1)).isoformat(),
        "at": past.moments[1].isoformat(),
    }
    variables = json.loads(example["variables"])
    given = {key: told[key] for key in variables}

    answer = await (await world.client(ASKED_BY[name])).run(example["query"], given)

    assert shape(json.loads(example["answer"])) == shape(answer.body)
