"""The entries to the graph for reading. What you don't see is answered as what never was: null."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

import strawberry

from auth.permission import Permission
from models.access_review import AccessReview as AccessReviewModel
from models.base import WardModel
from models.custom_role import CustomRole as CustomRoleModel
from models.data_export import DataExport as DataExportModel
from models.data_import import DataImport as DataImportModel
from models.data_import import ImportMapping as ImportMappingModel
from models.data_inventory import data_inventory
from models.device import Device as DeviceModel
from models.erasure_request import ErasureRequest as ErasureRequestModel
from models.errors import InvalidInputError
from models.incident import Incident as IncidentModel
from models.invitation import Invitation as InvitationModel
from models.membership import Membership
from models.organization import Organization as OrganizationModel
from models.project import Project as ProjectModel
from models.record import Record as RecordModel
from models.service_account import ServiceAccount as ServiceAccountModel
from models.site import Site as SiteModel
from models.trusted_document import TrustedDocument as TrustedDocumentModel
from resolvers.feed import DEFAULT_PAGE as DEFAULT_CHANGES
from schema.access_decision import AccessDecision, decide
from schema.access_review import AccessReview, list_access_reviews
from schema.aggregate import Asked, GroupBucket
from schema.audit import AuditEntry, AuditEntryFilter, list_audit_entries
from schema.change_feed import ChangePage, FirstChanges, OfProject, Since, Types, list_changes
from schema.connection import (
    After,
    Before,
    Connection,
    First,
    Last,
    OrderDirection,
    PageArguments,
)
from schema.context import context_of
from schema.custom_role import CustomRole, list_roles
from schema.data_export import Export, ExportFilter, list_exports
from schema.data_import import DataImport, DataImportFilter, list_imports
from schema.data_inventory import DataTable
from schema.device import Device, DeviceFilter, DeviceOrder, list_devices
from schema.erasure_request import ErasureRequest, ErasureRequestFilter, list_erasure_requests
from schema.field import TYPES, resolved, root
from schema.filter import Search
from schema.import_mapping import ImportMapping, ImportMappingFilter, list_mappings
from schema.incident import Incident, IncidentFilter, list_incidents
from schema.invitation import Invitation, InvitationFilter, list_invitations
from schema.measurement_group import MeasurementFilter, MeasurementGroup, MeasurementGroupKey, group_measurements
from schema.measurement_series import DEFAULT_WIDTH, MeasurementSeries, SeriesWindow, list_series
from schema.node import Node, Path, parse_id, split_id
from schema.organization import Organization
from schema.project import Project, ProjectFilter, ProjectOrder, list_projects
from schema.proof import AuditTrail, load_trail
from schema.record import Record, RecordFilter, RecordOrder, list_records
from schema.record_group import RecordGroup, RecordGroupKey, group_records
from schema.record_past import PastRecord, load_past
from schema.selection import load_selected
from schema.service_account import ServiceAccount, list_service_accounts
from schema.site import Site, SiteFilter, SiteOrder, list_sites
from schema.trusted_document import TrustedDocument, TrustedDocumentFilter, list_trusted_documents
from schema.user import User, UserFilter, UserOrder, list_users
from schema.viewer import Viewer

MOST_NODES: Final = 100
"""Ids that one `nodes` takes."""


async def _by_id(info: strawberry.Info, model: type[WardModel], type_name: str, value: str) -> Any:
    return await load_selected(info, model, parse_id(value, type_name, at=("id",)))


async def _by_global_id(info: strawberry.Info, value: str, *, at: Path) -> Any:
    type_name, row_id = split_id(value, at=at)
    declared = TYPES.get(type_name)
    core: Any = info._raw_info.schema.type_map.get(type_name)
    if declared is None or declared.model is None or not getattr(core, "interfaces", ()):
        return None
    return await load_selected(info, declared.model, row_id)


@strawberry.type(description="Where reading begins. Everything is of the one organization you are signed in to.")
class Query:
    @resolved("You; null if you are not signed in.", root(public=True))
    def viewer(info: strawberry.Info) -> Viewer | None:
        context = context_of(info)
        if context.actor.viewer is None:
            if context.refusal is not None:
                raise context.refusal
            return None
        return Viewer()

    @resolved("The organization that you are signed in to.", root())
    async def organization(info: strawberry.Info) -> Organization | None:
        organization_id = str(context_of(info).viewer.organization_id)
        return await _by_id(info, OrganizationModel, "Organization", organization_id)

    @resolved("Any object by its global id.", root())
    async def node(info: strawberry.Info, id: strawberry.ID) -> Node | None:
        found: Any = await _by_global_id(info, id, at=("id",))
        return found

    @resolved(
        f"Objects of any types by their global ids, {MOST_NODES} at the most, in the order of the ids: null in the"
        " place of what you don't see, as of what never was.",
        root(),
    )
    async def nodes(
        info: strawberry.Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The ids; one may stand there twice.")],
    ) -> list[Node | None]:
        if len(ids) > MOST_NODES:
            raise InvalidInputError(f"Expected at most {MOST_NODES} ids.", field=("ids",))
        asked = [_by_global_id(info, one, at=("ids", place)) for place, one in enumerate(ids)]
        found: Any = await asyncio.gather(*asked)
        return found

    @resolved("A project by its id.", root())
    async def project(info: strawberry.Info, id: strawberry.ID) -> Project | None:
        return await _by_id(info, ProjectModel, "Project", id)

    @resolved("The projects that you see.", root())
    async def projects(
        info: strawberry.Info,
        filter: ProjectFilter | None = None,
        search: Search = None,
        order_by: list[ProjectOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Project] | None:
        page = PageArguments(first, after, last, before)
        return await list_projects(info, filter, order_by, page, search=search)

    @resolved("A site by its id.", root())
    async def site(info: strawberry.Info, id: strawberry.ID) -> Site | None:
        return await _by_id(info, SiteModel, "Site", id)

    @resolved("The sites of all projects that you see.", root())
    async def sites(
        info: strawberry.Info,
        filter: SiteFilter | None = None,
        order_by: list[SiteOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Site] | None:
        page = PageArguments(first, after, last, before)
        return await list_sites(info, filter, order_by, page)

    @resolved("A device by its id.", root())
    async def device(info: strawberry.Info, id: strawberry.ID) -> Device | None:
        return await _by_id(info, DeviceModel, "Device", id)

    @resolved("The devices that you see: all of them, or your own.", root())
    async def devices(
        info: strawberry.Info,
        filter: DeviceFilter | None = None,
        search: Search = None,
        order_by: list[DeviceOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Device] | None:
        page = PageArguments(first, after, last, before)
        return await list_devices(info, filter, order_by, page, search=search)

    @resolved("A record by its id.", root())
    async def record(info: strawberry.Info, id: strawberry.ID) -> Record | None:
        return await _by_id(info, RecordModel, "Record", id)

    @resolved(
        "What a record that you see was at a moment, by the database's clock: null where there was none. A change"
        " counts from when its transaction began, or the one before it if that was later.",
        root(),
    )
    async def record_as_of(info: strawberry.Info, id: strawberry.ID, at: datetime) -> PastRecord | None:
        return await load_past(info, parse_id(id, "Record", at=("id",)), at)

    @resolved("The records of all projects that you see.", root())
    async def records(
        info: strawberry.Info,
        filter: RecordFilter | None = None,
        search: Search = None,
        order_by: list[RecordOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Record] | None:
        page = PageArguments(first, after, last, before)
        return await list_records(info, filter, order_by, page, search=search)

    @resolved(
        "The records of all projects that you see, counted in groups. A record counts where you may read every column"
        " that is grouped by, filtered by or selected. Without a key there is one group.",
        root(),
    )
    async def record_groups(
        info: strawberry.Info,
        filter: Annotated[RecordFilter | None, strawberry.argument(description="Which records are counted.")] = None,
        search: Search = None,
        by: Annotated[
            list[RecordGroupKey], strawberry.argument(description="What groups are told apart by, and their order.")
        ] = [],  # noqa: B006  (the contract's default; never written to)
        bucket: GroupBucket = None,
    ) -> list[RecordGroup] | None:
        return await group_records(info, filter, Asked(by, bucket), search=search)

    @resolved(
        "The measurements of all records that you see, counted in groups, with the statistics of their values. A"
        " measurement counts where you may read every column that is grouped by, filtered by or selected, of it and of"
        " its record. Without a key there is one group.",
        root(),
    )
    async def measurement_groups(
        info: strawberry.Info,
        filter: Annotated[
            MeasurementFilter | None, strawberry.argument(description="Which measurements are counted.")
        ] = None,
        record: Annotated[
            RecordFilter | None, strawberry.argument(description="Of which records they are counted.")
        ] = None,
        by: Annotated[
            list[MeasurementGroupKey],
            strawberry.argument(description="What groups are told apart by, and their order."),
        ] = [],  # noqa: B006  (the contract's default; never written to)
        bucket: GroupBucket = None,
    ) -> list[MeasurementGroup] | None:
        return await group_measurements(info, filter, record, Asked(by, bucket))

    @resolved(
        "The values of one characteristic over time, as a chart needs them: a series for each project, site, medium,"
        " fraction and unit, of `width` points at the most. A measurement counts where you may read every column that"
        " is touched, of it and of its record; one without a number is left out.",
        root(),
    )
    async def measurement_series(
        info: strawberry.Info,
        characteristic: Annotated[str, strawberry.argument(description="What was measured, letter by letter.")],
        start: Annotated[datetime, strawberry.argument(description="Collected at this moment or later.")],
        end: Annotated[datetime, strawberry.argument(description="Collected before this moment.")],
        width: Annotated[
            int,
            strawberry.argument(
                description="How many points a series has at the most, such as a chart's width in pixels: up to 4000."
            ),
        ] = DEFAULT_WIDTH,
        filter: Annotated[
            MeasurementFilter | None, strawberry.argument(description="Which measurements besides.")
        ] = None,
        record: Annotated[
            RecordFilter | None, strawberry.argument(description="Of which records, such as those of one site.")
        ] = None,
    ) -> list[MeasurementSeries] | None:
        return await list_series(info, SeriesWindow(characteristic, start, end, width), filter, record)

    @resolved(
        "What changed since a cursor, of all that you see; without one nothing, and the cursor of now. Whoever pulls"
        " from cursor to cursor misses no change, however long its transaction took, and is told of none twice.",
        root(),
    )
    async def changes(
        info: strawberry.Info,
        after: Since = None,
        first: FirstChanges = DEFAULT_CHANGES,
        types: Types = None,
        project_id: OfProject = None,
    ) -> ChangePage | None:
        return await list_changes(info, types, project_id, after, first)

    @resolved("A person by their id.", root())
    async def user(info: strawberry.Info, id: strawberry.ID) -> User | None:
        return await _by_id(info, Membership, "User", id)

    @resolved("The people that you see: everyone, or yourself.", root())
    async def users(
        info: strawberry.Info,
        filter: UserFilter | None = None,
        order_by: list[UserOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[User] | None:
        page = PageArguments(first, after, last, before)
        return await list_users(info, filter, order_by, page)

    @resolved("An invitation by its id.", root())
    async def invitation(info: strawberry.Info, id: strawberry.ID) -> Invitation | None:
        return await _by_id(info, InvitationModel, "Invitation", id)

    @resolved("The organization's invitations, newest first: empty for those who don't see its people.", root())
    async def invitations(
        info: strawberry.Info,
        filter: InvitationFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Invitation] | None:
        page = PageArguments(first, after, last, before)
        return await list_invitations(info, filter, direction, page)

    @resolved("A role of the organization's own by its id.", root())
    async def role(info: strawberry.Info, id: strawberry.ID) -> CustomRole | None:
        return await _by_id(info, CustomRoleModel, "CustomRole", id)

    @resolved("The organization's own roles.", root())
    async def roles(
        info: strawberry.Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[CustomRole] | None:
        return await list_roles(info, PageArguments(first, after, last, before))

    @resolved("A service account by its id.", root())
    async def service_account(info: strawberry.Info, id: strawberry.ID) -> ServiceAccount | None:
        return await _by_id(info, ServiceAccountModel, "ServiceAccount", id)

    @resolved("The organization's service accounts.", root())
    async def service_accounts(
        info: strawberry.Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[ServiceAccount] | None:
        return await list_service_accounts(info, PageArguments(first, after, last, before))

    @resolved("A review of access by its id.", root())
    async def access_review(info: strawberry.Info, id: strawberry.ID) -> AccessReview | None:
        return await _by_id(info, AccessReviewModel, "AccessReview", id)

    @resolved("The organization's reviews of access, newest first: empty for those who may not read them.", root())
    async def access_reviews(
        info: strawberry.Info,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[AccessReview] | None:
        return await list_access_reviews(info, direction, PageArguments(first, after, last, before))

    @resolved("A trusted document by its id.", root())
    async def trusted_document(info: strawberry.Info, id: strawberry.ID) -> TrustedDocument | None:
        return await _by_id(info, TrustedDocumentModel, "TrustedDocument", id)

    @resolved("The organization's trusted documents, newest first: empty for those who may not read them.", root())
    async def trusted_documents(
        info: strawberry.Info,
        filter: TrustedDocumentFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[TrustedDocument] | None:
        page = PageArguments(first, after, last, before)
        return await list_trusted_documents(info, filter, direction, page)

    @resolved("An import of a file by its id.", root())
    async def data_import(info: strawberry.Info, id: strawberry.ID) -> DataImport | None:
        return await _by_id(info, DataImportModel, "DataImport", id)

    @resolved("The imports into the projects that you may import into, newest first.", root())
    async def imports(
        info: strawberry.Info,
        filter: DataImportFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[DataImport] | None:
        page = PageArguments(first, after, last, before)
        return await list_imports(info, filter, direction, page)

    @resolved("A mapping of tables by its id.", root())
    async def import_mapping(info: strawberry.Info, id: strawberry.ID) -> ImportMapping | None:
        return await _by_id(info, ImportMappingModel, "ImportMapping", id)

    @resolved("The mappings of the projects that you may import into, by name.", root())
    async def import_mappings(
        info: strawberry.Info,
        filter: ImportMappingFilter | None = None,
        direction: OrderDirection = OrderDirection.ASC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[ImportMapping] | None:
        page = PageArguments(first, after, last, before)
        return await list_mappings(info, filter, direction, page)

    @resolved("An incident by its id.", root())
    async def incident(info: strawberry.Info, id: strawberry.ID) -> Incident | None:
        return await _by_id(info, IncidentModel, "Incident", id)

    @resolved("The organization's incidents, newest first: empty for those who may not read them.", root())
    async def incidents(
        info: strawberry.Info,
        filter: IncidentFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Incident] | None:
        page = PageArguments(first, after, last, before)
        return await list_incidents(info, filter, direction, page)

    @resolved("An export by its id.", root())
    async def export(info: strawberry.Info, id: strawberry.ID) -> Export | None:
        return await _by_id(info, DataExportModel, "Export", id)

    @resolved("The exports that you see, newest first: your own, or all of the organization's.", root())
    async def exports(
        info: strawberry.Info,
        filter: ExportFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Export] | None:
        page = PageArguments(first, after, last, before)
        return await list_exports(info, filter, direction, page)

    @resolved("A request for an erasure by its id.", root())
    async def erasure_request(info: strawberry.Info, id: strawberry.ID) -> ErasureRequest | None:
        return await _by_id(info, ErasureRequestModel, "ErasureRequest", id)

    @resolved("The requests for erasure that you see, newest first: about you, or all of the organization's.", root())
    async def erasure_requests(
        info: strawberry.Info,
        filter: ErasureRequestFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[ErasureRequest] | None:
        page = PageArguments(first, after, last, before)
        return await list_erasure_requests(info, filter, direction, page)

    @resolved(
        "Whether somebody may read a field of an object, or has a permission there, and why.",
        root(takes=Permission.ACCESS_READ),
    )
    async def access_decision(
        info: strawberry.Info,
        principal: Annotated[strawberry.ID, strawberry.argument(description="The User or ServiceAccount.")],
        on: Annotated[strawberry.ID, strawberry.argument(description="The object.")],
        field: Annotated[str | None, strawberry.argument(description="The field of its type.")] = None,
        permission: Annotated[
            Permission | None, strawberry.argument(description="Or a permission, in the scope of the object.")
        ] = None,
    ) -> AccessDecision | None:
        return await decide(info, principal, on, field, permission)

    @resolved(
        "All that is stored: how it is protected, who may read it, how long it is kept.",
        root(takes=Permission.ACCESS_READ),
    )
    def data_inventory(info: strawberry.Info) -> list[DataTable] | None:
        found: Any = data_inventory()
        return found

    @resolved("The audit trail, newest first: empty for those who may not read it.", root())
    async def audit_entries(
        info: strawberry.Info,
        filter: AuditEntryFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[AuditEntry] | None:
        page = PageArguments(first, after, last, before)
        return await list_audit_entries(info, filter, direction, page)

    @resolved(
        "The audit trail as it was sealed last; null where nothing is sealed yet.", root(takes=Permission.AUDIT_READ)
    )
    async def audit_trail(info: strawberry.Info) -> AuditTrail | None:
        return await load_trail(info)
