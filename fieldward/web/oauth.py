"""OAuth 2 for programs: `POST /oauth/token` with client credentials, and where to find it (RFC 8414).

A client's id is its service account's, its secret one of that account's tokens. Both go into the header (HTTP Basic) or
into the form, never into the address. Answers and errors are those of RFC 6749, section 5.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auth.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from auth.role import SERVICE_ACCOUNT_LEVEL
from fieldward.web.admission import Admission
from fieldward.web.authentication import origin_of
from fieldward.web.gate import Gate
from fieldward.web.limits import BodyLimit, GoneError
from fieldward.web.proxy import Network
from fieldward.web.published_key import JWKS
from models.deadline import deadline
from models.errors import InvalidInputError, UnavailableError
from resolvers.program import grant_access
from resolvers.services import Services
from resolvers.throttle import network_of
from schema.transport import RefusedError

TOKEN: Final = "/oauth/token"  # noqa: S105  (an address)
METADATA: Final = "/.well-known/oauth-authorization-server"
GRANT_TYPE: Final = "client_credentials"
KEPT_S: Final = 3600
"""Seconds for which a client may keep the metadata."""

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 20
_NOT_KEPT: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Fieldward", charset="UTF-8"'}


class _RefusalError(Exception):
    """A request for a token that is answered by an error of RFC 6749, 5.2."""

    def __init__(self, code: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.answer = _refused(code, description, status=status)


class _Client(NamedTuple):
    id: str
    secret: str

    def __repr__(self) -> str:
        return "<client>"


def oauth_routes(
    services: Services, admission: Admission, gate: Gate, *, public_url: str | None, proxies: Sequence[Network]
) -> list[Route]:
    """Return the route that gives tokens, and the one of the metadata, which is there where a public URL is set.

    admission: the places of the process, of which a request for a token takes one. gate: what has to be open before
        one is looked at.
    """
    # Nobody is signed in here: a form of this kind is small.
    limit = BodyLimit(is_signed=_nobody)

    async def token(request: Request) -> Response:
        try:
            gate.require_open()
            origin = origin_of(request, proxies)
            allowance = services.allowances.of_network(network_of(origin.ip_address))
            allowance.ask()
            form = _form(request, await limit.read(request.scope, request.receive))
            client = _client(request.headers.getlist("authorization"), form)
            grant_type = form.get("grant_type")
            if grant_type is None:
                raise _RefusalError("invalid_request", "Expected a grant_type.")
            if grant_type != GRANT_TYPE:
                raise _RefusalError("unsupported_grant_type", f"Expected {GRANT_TYPE}.")
            with admission, allowance, deadline(services.operation_timeout_s):
                granted = await grant_access(
                    services,
                    origin,
                    client_id=client.id,
                    secret=client.secret,
                    scope=form["scope"].split() if "scope" in form else None,
                )
        except _RefusalError as refusal:
            return refusal.answer
        except RefusedError as refusal:
            code = "temporarily_unavailable" if refusal.answer.status == 503 else "invalid_request"
            return _refused(code, str(refusal), status=refusal.answer.status)
        except GoneError:
            return Response(status_code=400)
        except UnauthenticatedError as error:
            return _refused("invalid_client", error.message, status=401)
        except (ForbiddenError, InvalidInputError) as error:
            return _refused("invalid_scope", error.message)
        except UnavailableError as error:
            return _refused("temporarily_unavailable", error.message, status=503)
        except RateLimitedError as error:
            answer = _refused("temporarily_unavailable", error.message, status=429)
            answer.headers["Retry-After"] = str(error.retry_after_s)
            return answer
        return JSONResponse(
            {
                "access_token": granted.access_token,
                "token_type": "Bearer",
                "expires_in": granted.expires_in_s,
                "scope": " ".join(granted.scope),
            },
            headers=_NOT_KEPT,
        )

    async def metadata(_: Request) -> Response:
        return JSONResponse(described, headers={"Cache-Control": f"public, max-age={KEPT_S}"})

    routes = [Route(TOKEN, token, methods=["POST"])]
    if public_url is not None:
        described = server_metadata(services.sessions.issuer, public_url)
        routes.append(Route(METADATA, metadata))
    return routes


async def _nobody(_: Mapping[bytes, bytes]) -> bool:
    return False


def server_metadata(issuer: str, public_url: str) -> dict[str, str | Sequence[str]]:
    """Return what a client finds out about the server (RFC 8414, 2)."""
    at = public_url.rstrip("/")
    return {
        "issuer": issuer,
        "token_endpoint": f"{at}{TOKEN}",
        "jwks_uri": f"{at}{JWKS}",
        "grant_types_supported": [GRANT_TYPE],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": sorted(SERVICE_ACCOUNT_LEVEL),
    }


def _form(request: Request, body: bytes) -> dict[str, str]:
    """Return the fields of the form. One that is sent twice makes it no request (RFC 6749, 3.2); empty is none."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _RefusalError("invalid_request", f"Expected a body of {_FORM}.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise _RefusalError("invalid_request", "Expected fields of a form, encoded as such.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _RefusalError("invalid_request", "Expected each field once.")
    return {name: value for name, value in fields.items() if value}


def _client(headers: Sequence[str], form: dict[str, str]) -> _Client:
    """Return who asks, by what they say in one of the two ways (RFC 6749, 2.3.1)."""
    if headers and "client_secret" in form:
        raise _RefusalError("invalid_request", "Expected the client's secret in the header or the form, not in both.")
    if headers:
        client = _basic(headers)
        if form.get("client_id", client.id) != client.id:
            raise _RefusalError("invalid_request", "Expected one client_id.")
        return client
    if "client_id" not in form or "client_secret" not in form:
        raise _RefusalError("invalid_client", "Expected a client's id and secret.", status=401)
    return _Client(form["client_id"], form["client_secret"])


def _basic(headers: Sequence[str]) -> _Client:
    scheme, _, encoded = headers[0].partition(" ")
    try:
        if len(headers) > 1 or scheme.lower() != "basic":
            raise ValueError
        given = base64.b64decode(encoded.strip(), validate=True).decode()
        client_id, colon, secret = given.partition(":")
        if not colon:
            raise ValueError
        return _Client(unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict"))
    except (ValueError, binascii.Error):
        raise _RefusalError("invalid_client", "Expected HTTP Basic with id and secret.", status=401) from None


def _refused(code: str, description: str, *, status: int = 400) -> Response:
    headers = {**_NOT_KEPT, **(_CHALLENGE if status == 401 else {})}
    if status == 503:
        headers["Retry-After"] = "5"
    return JSONResponse({"error": code, "error_description": description}, status_code=status, headers=headers)
