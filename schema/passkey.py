"""What a browser is asked of passkeys."""

from datetime import datetime

import strawberry

from resolvers.passkey import Asked
from resolvers.sign_in import PasskeyAsked
from schema.field import derived, structure
from schema.mutation import UserError


@structure
@strawberry.type(description="What a passkey is asked, or why it is not.")
class PasskeyRequestPayload:
    token: str | None = strawberry.field(description="Names the question in the answer.", metadata=derived())
    options: str | None = strawberry.field(
        description="In JSON, for `parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON` of"
        " `PublicKeyCredential`.",
        metadata=derived(),
    )
    expires_at: datetime | None = strawberry.field(description="Until when it can be answered.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing is asked.", metadata=derived())


def asked_payload(asked: Asked | PasskeyAsked) -> PasskeyRequestPayload:
    """Return the payload that asks."""
    return PasskeyRequestPayload(token=asked.token, options=asked.options, expires_at=asked.expires_at, errors=[])
