"""Making organizations and people, for operators on the command line: in a member's name, or the operator's own."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.action import Action
from auth.errors import NotFoundError
from auth.escalation import require_may_assign, require_owner
from auth.password import require_acceptable
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, OrganizationRole
from auth.scope import ORGANIZATION
from models.base import new_id
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner, person_owner
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus
from models.organization import Organization, OrganizationStatus
from models.reading import OneStatement
from models.transaction import Tenant
from models.user import User, UserStatus
from resolvers.account_index import email_index_of
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import require_address, require_fit, require_reason
from resolvers.leaving import set_standing
from resolvers.services import Services
from resolvers.standing import member_state, viewer_of
from resolvers.trail import Actor


@dataclass(frozen=True, slots=True)
class NewPerson:
    """A person and their first membership."""

    email: str = field(repr=False)
    password: str = field(repr=False)
    name: str = field(repr=False)
    role: OrganizationRole


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A person who fits, with their keys in memory and their password hashed: all that is slow is done."""

    new: NewPerson
    email: str = field(repr=False)
    email_index: bytes
    user_id: UUID
    is_known: bool
    password_hash: str = field(repr=False)


async def create_organization(
    services: Services, actor: Actor, *, slug: str, name: str, owner: NewPerson
) -> tuple[UUID, UUID]:
    """Create an organization with its first owner, in one change. Returns its id and the owner's membership's.

    Raises:
        InvalidInputError: the slug, the name, or something about the owner does not fit.
        ConflictError: the slug is taken.
    """
    organization_id = new_id()
    require_fit(entity_of(Organization), {"slug": slug, "name": name}, at=())
    if not all(character.isascii() and (character.isalnum() or character == "-") for character in slug):
        raise InvalidInputError("Expected a slug of letters, digits and hyphens.", field=("slug",))
    prepared = await _prepare(services, organization_id, owner)

    async def create(change: Change) -> tuple[UUID, UUID]:
        try:
            await Organization.create(
                using_db=change.connection,
                id=organization_id,
                slug=slug.lower(),
                name=name,
                status=OrganizationStatus.ACTIVE,
                created_at=change.at,
            )
        except IntegrityError as error:
            raise ConflictError("Another organization has this slug.", field=("slug",)) from error
        return organization_id, await _insert(change, organization_id, prepared)

    inside = replace(actor, organization_id=organization_id)
    return await commit_change(
        Intent(action=Action.ORGANIZATION_CREATE, actor=inside, entity="organization", subjects=[organization_id]),
        create,
    )


async def create_person(services: Services, actor: Actor, *, organization_id: UUID, new: NewPerson) -> UUID:
    """Create a person's account, or find it by the address, and make them a member. Returns the membership's id.

    The password counts for a new account alone; nobody can set another's. Without a viewer it is the operator who
    acts.

    Raises:
        InvalidInputError: the address, name or password does not fit.
        ForbiddenError: the viewer lacks `membership:assign`, or the role can do more than they can.
        ConflictError: the person is a member already.
    """
    prepared = await _prepare(services, organization_id, new)

    async def create(change: Change) -> UUID:
        if actor.viewer is not None:
            require(actor.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
            require_owner(actor.viewer, new.role)
            require_may_assign(
                actor.viewer, ORGANIZATION, own=False, current=frozenset(), wanted=ORGANIZATION_ROLES[new.role]
            )
        return await _insert(change, organization_id, prepared)

    return await commit_change(
        Intent(
            action=Action.USER_CREATE,
            actor=replace(actor, organization_id=organization_id),
            entity="membership",
        ),
        create,
    )


async def set_member_status(
    actor: Actor, *, organization_id: UUID, membership_id: UUID, status: MembershipStatus, reason: str
) -> None:
    """Suspend or reinstate a member in a change of its own; what it raises: `resolvers/leaving.py: set_standing`.

    Raises:
        InvalidInputError: the reason is blank or too long.
    """
    reason = require_reason(reason, at=("reason",))
    action = Action.USER_SUSPEND if status is MembershipStatus.SUSPENDED else Action.USER_REINSTATE

    async def update(change: Change) -> None:
        await set_standing(change, membership_id=membership_id, status=status)

    await commit_change(
        Intent(
            action=action,
            actor=replace(actor, organization_id=organization_id),
            reason=reason,
            entity="membership",
            subjects=[membership_id],
        ),
        update,
    )


async def member_viewer(slug: str, *, email: str, active: bool = True) -> Viewer:
    """Return the viewer that the member with that address is in the organization of that slug.

    active: look for a member who can get in, or for a suspended one.

    Operators name a member so that what they do is somebody's: row-level security shows an organization only to who
    belongs to it, and the trail names a person.

    Raises:
        NotFoundError: there is no such member in no such organization.
    """
    index = await email_index_of(email)
    async with OneStatement(Tenant(email_index=index)) as connection:
        user_id = await connection.fetchval("select id from user_account where email_index = $1", index)
    missing = NotFoundError(f"Nobody with that address belongs to an organization {slug!r}.")
    if user_id is None:
        raise missing
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        row = await connection.fetchrow(
            "select m.organization_id, m.id from membership m join organization o on o.id = m.organization_id"
            " where m.user_id = $1 and o.slug = $2 and m.status = $3",
            user_id,
            slug.lower(),
            MembershipStatus.ACTIVE if active else MembershipStatus.SUSPENDED,
        )
    if row is None:
        raise missing
    async with OneStatement(Tenant(organization_id=row["organization_id"])) as connection:
        state = await member_state(connection, row["organization_id"], row["id"])
    if state is None:
        raise missing
    return viewer_of(state)


async def _prepare(services: Services, organization_id: UUID, new: NewPerson) -> _Prepared:
    email = require_address(new.email, at=("email",))
    require_fit(entity_of(User), {"email": email}, at=())
    require_fit(entity_of(Membership), {"name": new.name}, at=())
    await services.hashing.run(require_acceptable, new.password, about=(email, new.name))
    index = await email_index_of(email)
    async with OneStatement(Tenant(email_index=index)) as connection:
        known: UUID | None = await connection.fetchval("select id from user_account where email_index = $1", index)
    user_id = known or new_id()
    # The keys are there before the first row that they seal.
    await active_keyring().load([organization_owner(organization_id), person_owner(user_id)])
    encoded = await services.hashing.run(services.passwords.hash, new.password) if known is None else ""
    return _Prepared(new, email, index, user_id, known is not None, encoded)


async def _insert(change: Change, organization_id: UUID, prepared: _Prepared) -> UUID:
    if not prepared.is_known:
        await User.create(
            using_db=change.connection,
            id=prepared.user_id,
            email=prepared.email,
            email_index=prepared.email_index,
            password_hash=prepared.password_hash,
            status=UserStatus.ACTIVE,
            created_at=change.at,
        )
    membership_id = new_id()
    try:
        await Membership.create(
            using_db=change.connection,
            id=membership_id,
            organization_id=organization_id,
            user_id=prepared.user_id,
            role=prepared.new.role,
            name=prepared.new.name,
            created_at=change.at,
        )
    except IntegrityError as error:
        raise ConflictError("The person is a member already.", field=("email",)) from error
    return membership_id
