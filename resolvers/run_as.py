"""Looking at what another would see: for admins who set up roles, and for answering "why is that empty for me?".

Whoever looks as another sees what both may see, changes nothing, and leaves an entry for each request with their own
name and as whom they looked.
"""

from dataclasses import replace
from uuid import UUID

from auth.access import Grant, access_of
from auth.action import Action
from auth.errors import FieldwardError, ForbiddenError, NotFoundError
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION
from models.audit_entry import EntryKind, Outcome
from models.custom_role import CustomRole, RoleLevel
from models.encryption.keyring import active_keyring
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.listing import fetch_by_id
from models.membership import Membership
from models.project import Project
from resolvers.change import Intent, record_attempt
from resolvers.entry_writer import EntryWriter
from resolvers.read import Reader
from resolvers.standing import is_active, known_permissions, member_state, viewer_of
from resolvers.trail import Actor, new_entry

AT = ("Fieldward-Run-As",)
_EXPECTED = (
    "Expected User:…, a role of the organization such as AUDITOR, a role in a project such as VIEWER@Project:…,"
    " or CustomRole:… with or without a project."
)


async def run_as(actor: Actor, viewer: Viewer, reader: Reader, said: str) -> Actor:
    """Return the actor that looks, as the viewer that the actor is, at what `said` names would see.

    said: `User:<id>`; the name of a role in the organization; or `<role>@Project:<id>`, where a role may be
        `CustomRole:<id>`.

    Raises:
        ForbiddenError: without `access:run_as`. Leaves an entry.
        InvalidInputError, NotFoundError: it names nobody and no role, or none that the viewer sees.
        ConflictError: the person is suspended.
    """
    intent = Intent(action=Action.ACCESS_RUN_AS, actor=actor)
    try:
        require(viewer, Permission.ACCESS_RUN_AS, ORGANIZATION)
        target, name = await _target(viewer, reader, said.strip())
    except FieldwardError as error:
        await record_attempt(intent, error)
        raise
    looking = replace(target, access=target.access.within(viewer.access), is_reading_only=True)
    return replace(actor, viewer=looking, behind=viewer, acting_as=name)


async def record_looking(actor: Actor, writer: EntryWriter) -> None:
    """Commit that the actor looked as another, with the operation that they ran. Awaited before the answer leaves."""
    await active_keyring().load(actor.key_owners)
    seen_as = actor.viewer.membership_id if actor.viewer is not None else None
    is_person = (actor.acting_as or "").startswith("User:")
    entry = new_entry(
        actor,
        kind=EntryKind.READ,
        action=Action.ACCESS_RUN_AS,
        outcome=Outcome.DONE,
        entity=entity_of(Membership).name if is_person else None,
        entity_ids=[seen_as] if is_person and seen_as is not None else (),
    )
    await writer.write(actor.organization_id, [entry])


def require_not_looking(viewer: Viewer) -> None:
    """Raise `ForbiddenError` where the viewer only looks at what another would see."""
    if viewer.is_reading_only:
        raise ForbiddenError("You look as another: nothing can be changed. Run this as yourself.")


async def _target(viewer: Viewer, reader: Reader, said: str) -> tuple[Viewer, str]:
    """Return whom it names, and their name as the trail keeps it: one for each, however it was said."""
    if said.startswith("User:"):
        membership_id = _named(said, "User")
        return await _person(viewer, reader, membership_id), f"User:{membership_id}"
    role, at, place = said.partition("@")
    project_id = _named(place, "Project") if at else None
    if project_id is not None:
        async with reader.use() as connection:
            if not await fetch_by_id(connection, viewer, entity_of(Project), (), [project_id]):
                raise NotFoundError("There is no such project.", field=AT)
    grant = await _grant(viewer, reader, role, project_id)
    built_in = OrganizationRole(grant.role) if project_id is None and grant.custom_role_id is None else None
    as_role = replace(viewer, role=built_in or OrganizationRole.MEMBER, grants=(grant,), access=access_of((grant,)))
    name = grant.role if grant.custom_role_id is None else f"CustomRole:{grant.custom_role_id}"
    return as_role, name if project_id is None else f"{name}@Project:{project_id}"


async def _person(viewer: Viewer, reader: Reader, membership_id: UUID) -> Viewer:
    async with reader.use() as connection:
        state = None
        if await fetch_by_id(connection, viewer, entity_of(Membership), (), [membership_id]):
            state = await member_state(connection, viewer.organization_id, membership_id)
    if state is None:
        raise NotFoundError("There is no such person.", field=AT)
    if not is_active(state):
        raise ConflictError("The person is suspended: they see nothing at all.", field=AT)
    return viewer_of(state)


async def _grant(viewer: Viewer, reader: Reader, role: str, project_id: UUID | None) -> Grant:
    if role.startswith("CustomRole:"):
        role_id = _named(role, "CustomRole")
        async with reader.use() as connection:
            columns = ("name", "level", "permissions")
            found = (await fetch_by_id(connection, viewer, entity_of(CustomRole), columns, [role_id])).get(role_id)
        level = RoleLevel.PROJECT if project_id is not None else RoleLevel.ORGANIZATION
        if found is None:
            raise NotFoundError("There is no such role.", field=AT)
        if found["level"] != level:
            raise InvalidInputError(f"Expected a role of the level {level}. {_EXPECTED}", field=AT)
        return Grant(found["name"], known_permissions(found["permissions"]), project_id, role_id)
    if project_id is None and role in set(OrganizationRole):
        return Grant(role, ORGANIZATION_ROLES[OrganizationRole(role)])
    if project_id is not None and role in set(ProjectRole):
        return Grant(role, PROJECT_ROLES[ProjectRole(role)], project_id)
    raise InvalidInputError(_EXPECTED, field=AT)


def _named(text: str, kind: str) -> UUID:
    """Return the UUID of a global id of that kind, written as ids are written here."""
    said, _, bare = text.partition(":")
    try:
        found = UUID(bare)
    except ValueError as error:
        raise InvalidInputError(_EXPECTED, field=AT) from error
    if said != kind or str(found) != bare.lower():
        raise InvalidInputError(_EXPECTED, field=AT)
    return found
