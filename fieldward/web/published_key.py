"""The public halves of the keys that sign access tokens, for anybody: `/.well-known/jwks.json` (RFC 7517).

They may be kept for a minute: a new key is published for longer before it signs.
"""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auth.token import public_jwk
from models.encryption.signing import SigningKeys
from models.errors import UnavailableError

JWKS: Final = "/.well-known/jwks.json"
MEDIA_TYPE: Final = "application/jwk-set+json"
KEPT_S: Final = 60
"""Seconds for which whoever verifies tokens may keep an answer."""


def published_key_routes(signing_keys: SigningKeys) -> list[Route]:
    """Return the route of the keys."""

    async def published(_: Request) -> Response:
        try:
            keys = await signing_keys.published()
        except UnavailableError as error:
            raise HTTPException(503, "Try again in a moment.", headers={"Retry-After": "5"}) from error
        return JSONResponse(
            {"keys": [public_jwk(key) for key in keys]},
            media_type=MEDIA_TYPE,
            headers={"Cache-Control": f"public, max-age={KEPT_S}", "Cross-Origin-Resource-Policy": "cross-origin"},
        )

    return [Route(JWKS, published)]
