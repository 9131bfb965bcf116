"""What somebody signs in with beside their password, as they alone are shown it."""

from datetime import datetime
from typing import Any

import strawberry

from models.authenticator import AuthenticatorKind
from resolvers.authenticator import Own, own_authenticators
from schema.context import RequestContext
from schema.field import derived, resolved, structure

NOBODYS = Own((), 0)


@structure
@strawberry.type(description="An app that shows codes, or a passkey. Yours in every organization.")
class Authenticator:
    kind: AuthenticatorKind = strawberry.field(description="What it is.", metadata=derived())
    name: str | None = strawberry.field(description="Your own word for it.", metadata=derived())
    created_at: datetime = strawberry.field(description="When it was added.", metadata=derived())
    last_used_at: datetime | None = strawberry.field(description="When it was last used.", metadata=derived())

    @resolved("Its global id.", derived())
    def id(src: strawberry.Parent[Any]) -> strawberry.ID:
        return strawberry.ID(f"Authenticator:{src.id}")


async def load_own(context: RequestContext) -> Own:
    """Return what the viewer has: nothing for a program, and for who looks as another."""
    viewer = context.viewer
    if viewer.user_id is None or viewer.session_id is None or context.actor.acting_as is not None:
        return NOBODYS
    return await own_authenticators(viewer.user_id)
