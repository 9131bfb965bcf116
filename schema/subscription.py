"""The entries to the graph for what is pushed. Each event is answered as a query of that moment would be."""

import strawberry

from schema.change_feed import ChangePage, OfProject, Since, Types, follow_changes
from schema.field import resolved, root


@strawberry.type(description="What is pushed as it happens, over a WebSocket that speaks graphql-transport-ws.")
class Subscription:
    @resolved(
        "What changes from now on, or since a cursor, of all that you see; as the query `changes`, page by page as it"
        " comes. The first page comes at once, though nothing may be in it: its `cursor` is where you are. Keep the"
        " last cursor, and begin with it when the connection was lost: nothing is missed.",
        root(),
    )
    async def changes(
        info: strawberry.Info, after: Since = None, types: Types = None, project_id: OfProject = None
    ) -> ChangePage | None:
        return await follow_changes(info, types, project_id, after)
