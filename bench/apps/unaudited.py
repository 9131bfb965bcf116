"""`python -m bench.apps.unaudited`: Fieldward's server, whose changes leave no entry, over a database without triggers.

What a change costs without the trail: nothing is made or sealed for an entry, and the first statement of a transaction
asks only what it asks beside writing one, whether who acts still stands. All else is the service's own.
"""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from tortoise.backends.base.client import BaseDBAsyncClient

import resolvers.change
from fieldward.cli.serving import serve
from models.transaction import fetch
from resolvers.change import Change, Intent
from resolvers.standing import standing_question


async def begin(intent: Intent, connection: BaseDBAsyncClient, _: None) -> Change:
    """Ask whether who acts still stands, as `resolvers/change.py: _begin` does beside writing the entry."""
    viewer = intent.actor.viewer
    question = standing_question(viewer) if viewer is not None else None
    if question is None:
        row = (await fetch(connection, "select transaction_timestamp() as at"))[0]
    else:
        text = (
            "select entry.at, standing.* from (select transaction_timestamp() as at) entry"
            f" left join ({question.text}) standing on true"
        )
        row = (await fetch(connection, text, *question.arguments))[0]
        state = row if row["organization_id"] is not None else None
        intent = replace(intent, actor=replace(intent.actor, viewer=question.answer(state, row["at"])))
    return Change(intent=intent, connection=connection, at=row["at"])


def _no_entry(*_: Any, **__: Any) -> None:
    return None


if __name__ == "__main__":
    with patch.object(resolvers.change, "new_entry", _no_entry), patch.object(resolvers.change, "_begin", begin):
        serve()
