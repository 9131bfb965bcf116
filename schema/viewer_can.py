"""What the viewer may do with one object, asked on the object itself: what a dashboard's buttons and columns need.

The answers come from the same predicates as the use cases' own refusals. They speak of permissions and of the object's
own state; another reason to refuse, such as an archived project or a version that is passed, is the mutation's to say.
"""

from collections.abc import Callable, Iterable
from typing import Any

import strawberry
from graphql import GraphQLObjectType, GraphQLSchema

from auth.permission import Permission as P
from auth.role import ORGANIZATION_ROLES, OrganizationRole
from auth.scope import ORGANIZATION
from models.along import Selected
from models.custom_role import CustomRole
from models.data_export import ExportStatus
from models.data_import import ImportKind, ImportStatus
from models.device import DeviceStatus
from models.incident import IncidentStatus
from models.inventory import entity_of
from models.project import ProjectStatus
from models.row import Row
from models.visibility import scope_of
from resolvers.data_import import KEPT, STARTABLE
from resolvers.record import Standing, may_delete, may_review, may_submit, may_update
from resolvers.standing import known_permissions
from schema.context import RequestContext, context_of
from schema.field import derived, resolved, structure, types_of_rows
from schema.sweep import guard_of

GUARDS = "guards"
"""The key of the schema's extensions that holds, by type, each field with what reading it takes."""


class Can:
    """The value behind each of the types below: an object, and who asks."""

    def __init__(self, row: Row, info: strawberry.Info) -> None:
        self.row = row
        self._context: RequestContext = context_of(info)
        self._guards: dict[str, list[tuple[str, P | None]]] = info._raw_info.schema.extensions[GUARDS]

    def may(self, permission: P) -> bool:
        """Return whether the viewer has the permission in the scope of the object."""
        return not self._context.viewer.is_reading_only and self._has(permission)

    def may_in_organization(self, permission: P) -> bool:
        """Return whether the viewer has the permission in the organization."""
        viewer = self._context.viewer
        return not viewer.is_reading_only and self._context.allows(permission, ORGANIZATION)

    @property
    def standing(self) -> Standing:
        """Who asks, and what they may do, as the use cases of records ask for it."""
        return Standing(self._context.viewer, self.may)

    @property
    def is_about_me(self) -> bool:
        """Whether the object is the viewer's own membership."""
        return bool(self.row["id"] == self._context.viewer.membership_id)

    @property
    def is_mine(self) -> bool:
        """Whether the viewer is the person or the program that the object was made by, and no other looks as them."""
        viewer = self._context.viewer
        maker = self.row["created_by_id"] or self.row["service_account_id"]
        return not viewer.is_reading_only and bool(maker == viewer.principal_id)

    def holds_all(self, permissions: Iterable[P]) -> bool:
        """Return whether the viewer has all of these in the organization."""
        return all(self._context.allows(permission, ORGANIZATION) for permission in permissions)

    async def holds_role_of_person(self) -> bool:
        """Return whether the viewer can do all that the person's role in the organization can, and may take it away."""
        row, viewer = self.row, self._context.viewer
        expires_at = row["role_expires_at"]
        if expires_at is not None and expires_at <= self._context.services.clock():
            return True
        if row["role"] == OrganizationRole.OWNER and viewer.role is not OrganizationRole.OWNER:
            return False
        if row["custom_role_id"] is None:
            return self.holds_all(ORGANIZATION_ROLES[OrganizationRole(row["role"])])
        role = await self._context.load_row(entity_of(CustomRole), Selected(("permissions",)), row["custom_role_id"])
        return role is not None and self.holds_all(known_permissions(role["permissions"]))

    @property
    def may_define(self) -> bool:
        """Whether the viewer may define roles, and can do all that this one can."""
        holds = self.holds_all(known_permissions(self.row["permissions"]))
        return holds and self.may_in_organization(P.ROLE_DEFINE)

    @property
    def has_role(self) -> bool:
        """Whether the object is a role that the viewer has."""
        return any(grant.custom_role_id == self.row["id"] for grant in self._context.viewer.grants)

    @property
    def readable_fields(self) -> list[str]:
        """The fields of the object's type that the viewer may read."""
        guards = self._guards[self.row.entity.name]
        return [name for name, guard in guards if guard is None or self._has(guard)]

    def _has(self, permission: P) -> bool:
        return self._context.allows(permission, scope_of(self.row.entity, self.row, self._context.viewer))


def publish_readable(core: GraphQLSchema) -> None:
    """Work out, once, what reading each field of each table's type takes."""
    guards: dict[str, list[tuple[str, P | None]]] = {}
    for name, model in types_of_rows().items():
        one = core.type_map.get(name)
        if not isinstance(one, GraphQLObjectType):
            continue
        found = [(field_name, guard_of(name, field)) for field_name, field in one.fields.items()]
        guards[entity_of(model).name] = [
            (field_name, P(guard[0]) if guard else None) for field_name, guard in found if field_name != "viewerCan"
        ]
    core.extensions[GUARDS] = guards


def _answer(description: str, decide: Callable[[Can], bool]) -> Any:
    def resolve(src: strawberry.Parent[Any]) -> bool:
        return decide(src)

    return strawberry.field(resolver=resolve, description=description, metadata=derived())


def _readable() -> Any:
    return strawberry.field(
        description="The fields of this object that you may read; of the others, what `@guard` says.",
        metadata=derived(),
    )


@structure
@strawberry.type(description="What you may do with a record, by your permissions and by its own state.")
class RecordViewerCan:
    update: bool = _answer("Change it.", lambda can: may_update(can.standing, can.row))
    submit: bool = _answer("Hand it over for review.", lambda can: may_submit(can.standing, can.row))
    approve: bool = _answer("Approve it.", lambda can: may_review(can.standing, can.row))
    reject: bool = _answer("Send it back.", lambda can: may_review(can.standing, can.row))
    delete: bool = _answer("Delete it.", lambda can: may_delete(can.standing))
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with a project, by your permissions and by its own state.")
class ProjectViewerCan:
    update: bool = _answer("Change it.", lambda can: _is_active(can) and can.may(P.PROJECT_UPDATE))
    archive: bool = _answer("Close it.", lambda can: _is_active(can) and can.may(P.PROJECT_ARCHIVE))
    create_record: bool = _answer("Create records in it.", lambda can: _is_active(can) and can.may(P.RECORD_CREATE))
    create_site: bool = _answer("Create sites in it.", lambda can: _is_active(can) and can.may(P.SITE_CREATE))
    assign_role: bool = _answer("Give roles in it.", lambda can: can.may(P.PROJECT_MEMBERSHIP_ASSIGN))
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with a site.")
class SiteViewerCan:
    update: bool = _answer("Change it.", lambda can: can.may(P.SITE_UPDATE))
    delete: bool = _answer("Delete it.", lambda can: can.may(P.SITE_DELETE))
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with a device, by your permissions and by its own state.")
class DeviceViewerCan:
    block: bool = _answer(
        "Block it.", lambda can: can.row["status"] != DeviceStatus.BLOCKED and can.may_in_organization(P.DEVICE_BLOCK)
    )
    unblock: bool = _answer(
        "Let it in again.",
        lambda can: can.row["status"] == DeviceStatus.BLOCKED and can.may_in_organization(P.DEVICE_BLOCK),
    )
    start_enrolment: bool = _answer(
        "Give a code by which it is enrolled.",
        lambda can: can.row["status"] != DeviceStatus.BLOCKED and can.may_in_organization(P.DEVICE_REGISTER),
    )
    hand_over: bool = _answer("Hand it over to somebody else.", lambda can: can.may_in_organization(P.DEVICE_REGISTER))
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do about a person.")
class UserViewerCan:
    @resolved("Give them another role in the organization, of those that can do no more than you can.", derived())
    async def assign_role(src: strawberry.Parent[Any]) -> bool:
        can: Can = src
        may = not can.is_about_me and can.may_in_organization(P.MEMBERSHIP_ASSIGN)
        return may and await can.holds_role_of_person()

    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with a role of the organization's own.")
class CustomRoleViewerCan:
    update: bool = _answer(
        "Change it: it can do no more than you can, and is not yours.",
        lambda can: not can.has_role and can.may_define,
    )
    delete: bool = _answer("Delete it, if nobody has it.", lambda can: can.may_define)
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with a service account.")
class ServiceAccountViewerCan:
    revoke: bool = _answer(
        "End it.", lambda can: can.row["revoked_at"] is None and can.may_in_organization(P.SERVICE_ACCOUNT_REVOKE)
    )
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do about an incident, by your permissions and by its own state.")
class IncidentViewerCan:
    acknowledge: bool = _answer(
        "Say that you look into it.",
        lambda can: can.row["status"] == IncidentStatus.OPEN and can.may_in_organization(P.INCIDENT_MANAGE),
    )
    close: bool = _answer(
        "Close it with a note.",
        lambda can: (
            can.row["status"] != IncidentStatus.CLOSED
            and can.holds_all((P.INCIDENT_READ_CONFIDENTIAL,))
            and can.may_in_organization(P.INCIDENT_MANAGE)
        ),
    )
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with an import, by your permissions and by its own state.")
class DataImportViewerCan:
    upload: bool = _answer(
        "Send its file.", lambda can: can.row["status"] == ImportStatus.OPEN and can.may(P.RECORD_IMPORT)
    )
    start: bool = _answer(
        "Start it.",
        lambda can: (
            can.row["status"] in STARTABLE
            and can.may(P.RECORD_IMPORT)
            and (can.row["kind"] != ImportKind.GEOJSON_SITES or can.may(P.SITE_CREATE))
        ),
    )
    cancel: bool = _answer("Call it off.", lambda can: can.row["status"] in KEPT and can.may(P.RECORD_IMPORT))
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with a mapping.")
class ImportMappingViewerCan:
    update: bool = _answer("Change it.", lambda can: can.may(P.RECORD_IMPORT))
    delete: bool = _answer("Delete it.", lambda can: can.may(P.RECORD_IMPORT))
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do with an export, by your permissions and by its own state.")
class ExportViewerCan:
    cancel: bool = _answer(
        "Stop it.", lambda can: can.row["status"] == ExportStatus.PENDING and can.may(P.EXPORT_DELETE)
    )
    delete: bool = _answer(
        "Destroy its file.", lambda can: can.row["status"] == ExportStatus.READY and can.may(P.EXPORT_DELETE)
    )
    take: bool = _answer(
        "Take its file, as far as you still may read all that is in it.",
        lambda can: can.row["status"] == ExportStatus.READY and can.is_mine,
    )
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may do in the organization.")
class OrganizationViewerCan:
    create_project: bool = _answer("Create projects.", lambda can: can.may_in_organization(P.PROJECT_CREATE))
    register_device: bool = _answer("Register devices.", lambda can: can.may_in_organization(P.DEVICE_REGISTER))
    define_role: bool = _answer("Define roles.", lambda can: can.may_in_organization(P.ROLE_DEFINE))
    create_service_account: bool = _answer(
        "Make identities for programs.", lambda can: can.may_in_organization(P.SERVICE_ACCOUNT_CREATE)
    )
    readable_fields: list[str] = _readable()


@structure
@strawberry.type(description="What you may read of an object.")
class ViewerCanRead:
    readable_fields: list[str] = _readable()


def viewer_can(answer: type[Any], *, needs: tuple[str, ...] = ()) -> Any:
    """Declare the field of an object that says what the viewer may do with it. needs: the columns that this takes."""

    def resolve(src: strawberry.Parent[Any], info: strawberry.Info) -> Any:
        return Can(src, info)

    resolve.__annotations__["return"] = answer
    return resolved("What you may do with this object.", derived(needs=needs))(resolve)


def _is_active(can: Can) -> bool:
    return bool(can.row["status"] == ProjectStatus.ACTIVE)
