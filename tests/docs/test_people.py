"""What `docs/people.md` shows: each step is taken, in the order of the page, and answered in the shape shown."""

import json
import re
from pathlib import Path
from typing import Any

from tests.docs.test_audit import SHOWN, shape
from tests.support.mutation import mutate
from tests.support.people import link_of
from tests.support.world import World

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "people.md").read_text()
EXAMPLES = {re.search(r"(?:query|mutation) (\w+)", one["query"])[1]: one for one in SHOWN.finditer(PAGE)}  # type: ignore[index]
"""By the operation's name, in the order of the page."""
ASKED_BY = {
    "Invite": "admin",
    "Accept": None,
    "Move": "admin",
    "Leave": "admin",
    "OpenReview": "owner",
    "Undecided": "owner",
    "Decide": "owner",
    "CloseReview": "owner",
}


def _given(value: Any, told: dict[str, str]) -> Any:
    """Return the variables that are shown, with what this world has in the place of what is cut off."""
    if isinstance(value, dict):
        return {
            name: told[name] if "…" in str(one) and name in told else _given(one, told) for name, one in value.items()
        }
    return value


async def test_the_steps_of_the_page_are_answered_in_the_shape_that_is_shown(world: World) -> None:
    assert list(EXAMPLES) == list(ASKED_BY)
    told = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "handOverTo": f"User:{await world.member_id('manager')}",
        "user": f"User:{await world.member_id('auditor')}",
    }
    for name, who in ASKED_BY.items():
        example = EXAMPLES[name]
        if name == "Leave":
            owner = await world.client("owner")
            device = {"userId": told["userId"], "platform": "ANDROID", "model": "Pixel 8"}
            assert (await mutate(owner, "registerDevice", device)).data["registerDevice"]["errors"] == []
        client = world.anonymous if who is None else await world.client(who)

        answer = await client.run(example["query"], _given(json.loads(example["variables"]), told))

        assert _known(shape(json.loads(example["answer"]))) == _known(shape(answer.body)), (name, answer.body)
        if name == "Invite":
            invitation = answer.data["inviteUser"]["invitation"]["id"]
            told["token"] = await link_of(world, invitation)
        elif name == "Accept":
            member = await world.value("select id from membership order by created_at desc, id desc limit 1")
            told["userId"] = f"User:{member}"
        elif name == "OpenReview":
            review = answer.data["openAccessReview"]["accessReview"]["id"]
        elif name == "Undecided":
            told["id"] = answer.data["accessReviews"]["nodes"][0]["items"]["nodes"][0]["id"]
        elif name == "Decide":
            told["id"] = review


def _known(value: Any) -> Any:
    """Return a shape without whether somebody was seen: that depends on who signed in before."""
    if isinstance(value, dict):
        return {name: _known(one) for name, one in value.items() if name != "lastUsedAt"}
    return [_known(one) for one in value] if isinstance(value, list) else value
