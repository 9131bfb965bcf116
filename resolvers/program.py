"""Programs: turning a service account's token into a viewer, or into an access token (OAuth 2 client credentials).

An access token is good for five minutes at most, says which program it is of, and is checked against the token that it
was had by at each request: whatever ends that ends it too. A scope only cuts down.

A good token from a foreign address is refused, and that is what the trail says. Which address counts is the peer's own,
or what a proxy says of it that the settings trust.

Standards: RFC 6749 4.4 (client credentials), RFC 9068 (JWT profile for access tokens).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from auth.action import Action
from auth.errors import ForbiddenError, ForeignNetworkError, UnauthenticatedError
from auth.network import is_within
from auth.opaque_token import ServiceToken, is_same_digest
from auth.permission import Permission
from auth.principal import SYSTEM_ID, Origin, Viewer
from auth.role import SERVICE_ACCOUNT_LEVEL
from auth.token import ProgramClaims, issue_access_token
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.service_account import ServiceAccount
from resolvers.change import Intent, record_attempt
from resolvers.services import Services
from resolvers.standing import REVOKED, State, known_permissions, require_good_token, service_viewer_of
from resolvers.trail import Actor

FOREIGN = "The service account is not for this address."


@dataclass(frozen=True, slots=True)
class Granted:
    """An access token, for how many seconds it is good, and what it allows at the most."""

    access_token: str = field(repr=False)
    expires_in_s: int
    scope: Sequence[Permission]


async def authenticate_service_account(services: Services, origin: Origin, *, token: ServiceToken) -> Viewer:
    """Return the viewer that the token stands for, with what its creator may do at this moment.

    Raises:
        UnauthenticatedError: the token is none of ours, or is not good any more, or not from there. Leaves an entry in
            the trail.
    """
    state = await services.token_states.load(token.organization_id, token.token_id)
    if state is None:
        # Nothing says that the organization named in it exists: what nobody knows leaves no entry in anybody's trail.
        raise UnauthenticatedError(REVOKED)
    try:
        _require_secret(state, token)
        _require_good(state, origin)
    except UnauthenticatedError as error:
        await _record_refusal(services, origin, state, error)
        raise
    _note_use(services, origin, state)
    return service_viewer_of(state)


async def authenticate_program(services: Services, origin: Origin, *, claims: ProgramClaims) -> Viewer:
    """Return the viewer that an access token of a program stands for, cut down to its scope.

    Raises:
        UnauthenticatedError: the token that it was had by is not good any more, or it is not from there. Leaves an
            entry in the trail.
    """
    state = await services.token_states.load(claims.organization_id, claims.service_token_id)
    if state is None or state["service_account_id"] != claims.service_account_id:
        raise UnauthenticatedError(REVOKED)
    try:
        _require_good(state, origin)
    except UnauthenticatedError as error:
        await _record_refusal(services, origin, state, error)
        raise
    _note_use(services, origin, state)
    return service_viewer_of(state, scope=None if claims.scope is None else known_permissions(claims.scope))


async def grant_access(
    services: Services, origin: Origin, *, client_id: str, secret: str, scope: Sequence[str] | None
) -> Granted:
    """Exchange a service account's token for an access token.

    client_id: the account's id. secret: its token. scope: the names of the permissions that are enough; None for all.

    Raises:
        UnauthenticatedError: the two are not those of an account that is good, from there. Leaves an entry in the
            trail, in the installation's where no account is known by the token.
        InvalidInputError: a name in the scope is that of no permission. Leaves an entry, too.
        ForbiddenError: the account does not have a permission. Leaves an entry in the trail.
        UnavailableError: nothing can be signed at the moment.
    """
    state: State | None = None
    try:
        token = ServiceToken.parse(secret)
        state = await services.token_states.load(token.organization_id, token.token_id)
        if state is None:
            raise UnauthenticatedError(REVOKED)
        _require_secret(state, token)
        if client_id != str(state["service_account_id"]):
            raise UnauthenticatedError(REVOKED)
        _require_good(state, origin)
        allowed = known_permissions(state["token_permissions"]) & SERVICE_ACCOUNT_LEVEL
        wanted = None if scope is None else _wanted(scope, allowed)
    except (UnauthenticatedError, ForbiddenError, InvalidInputError) as error:
        await _record_refusal(services, origin, state, error)
        raise
    signer = await services.signing_keys.signer()
    policy = services.sessions
    claims = ProgramClaims(
        service_account_id=state["service_account_id"],
        service_token_id=state["token_id"],
        organization_id=state["organization_id"],
        scope=wanted,
    )
    lifetime_s = int(policy.access_lifetime.total_seconds())
    access_token = issue_access_token(
        signer,
        claims,
        now=services.clock(),
        issuer=policy.issuer,
        audience=policy.audience,
        lifetime_s=lifetime_s,
    )
    _note_use(services, origin, state)
    return Granted(access_token, lifetime_s, sorted(allowed if wanted is None else known_permissions(wanted)))


def _wanted(scope: Sequence[str], allowed: frozenset[Permission]) -> tuple[str, ...]:
    known = known_permissions(scope)
    if len(known) != len(set(scope)) or not known:
        raise InvalidInputError("Expected names of permissions in the scope, such as record:read.")
    for missing in sorted(known - allowed):
        raise ForbiddenError("The service account does not have all of this scope.", permission=missing)
    return tuple(sorted(known))


def _require_secret(state: State, token: ServiceToken) -> None:
    if not is_same_digest(state["token_digest"], token.digest()):
        raise UnauthenticatedError(REVOKED)


def _require_good(state: State, origin: Origin) -> None:
    require_good_token(state)
    networks = state["networks"]
    if networks is not None and not is_within(origin.ip_address, networks):
        raise ForeignNetworkError(FOREIGN)


def _note_use(services: Services, origin: Origin, state: State) -> None:
    services.token_uses.note(state["organization_id"], state["token_id"], services.clock(), origin.ip_address)


async def _record_refusal(services: Services, origin: Origin, state: State | None, error: Exception) -> None:
    """Write an entry of the refusal in the trail of the account's organization, or else in the installation's."""
    organization_id: UUID = SYSTEM_ID if state is None else state["organization_id"]
    intent = Intent(
        action=Action.SERVICE_ACCOUNT_AUTHENTICATE,
        actor=Actor(organization_id, origin, floodgate=services.floodgate),
        entity=entity_of(ServiceAccount).name,
        subjects=() if state is None else [state["service_account_id"]],
    )
    await record_attempt(intent, error)
