"""The entries to the graph for reading: who and what an organization has, and what happens in it.

Those to what was measured are in `schema/data_query.py`. What you don't see is answered as what never was: null.
"""

import asyncio
from typing import Annotated, Any, Final

import strawberry

from auth.permission import Permission
from models.access_review import AccessReview as AccessReviewModel
from models.custom_role import CustomRole as CustomRoleModel
from models.data_export import DataExport as DataExportModel
from models.data_import import DataImport as DataImportModel
from models.data_import import ImportMapping as ImportMappingModel
from models.data_inventory import data_inventory
from models.data_kind import DataKind
from models.erasure_request import ErasureRequest as ErasureRequestModel
from models.errors import InvalidInputError
from models.incident import Incident as IncidentModel
from models.invitation import Invitation as InvitationModel
from models.legal_hold import LegalHold as LegalHoldModel
from models.membership import Membership
from models.organization import Organization as OrganizationModel
from models.service_account import ServiceAccount as ServiceAccountModel
from models.trusted_document import TrustedDocument as TrustedDocumentModel
from schema.access_decision import AccessDecision, decide
from schema.access_review import AccessReview, list_access_reviews
from schema.audit import AuditEntry, AuditEntryFilter, list_audit_entries
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
from schema.custom_role import CustomRole, CustomRoleFilter, list_roles
from schema.data_export import Export, ExportFilter, list_exports
from schema.data_import import DataImport, DataImportFilter, list_imports
from schema.data_inventory import DataTable
from schema.data_query import DataQuery
from schema.erasure_request import ErasureRequest, ErasureRequestFilter, list_erasure_requests
from schema.field import TYPES, resolved, root
from schema.import_mapping import ImportMapping, ImportMappingFilter, list_mappings
from schema.incident import Incident, IncidentFilter, list_incidents
from schema.invitation import Invitation, InvitationFilter, list_invitations
from schema.legal_hold import LegalHold, LegalHoldFilter, list_holds
from schema.node import Node, Path, split_id
from schema.organization import Organization
from schema.proof import AuditTrail, load_trail
from schema.retention import (
    PREVIEW_AFTER,
    PREVIEW_DAYS,
    PREVIEW_FIRST,
    RetentionPeriod,
    RetentionPreview,
    RetentionRun,
    list_periods,
    list_runs,
    look_ahead,
)
from schema.selection import load_by_id, load_selected
from schema.service_account import ServiceAccount, ServiceAccountFilter, list_service_accounts
from schema.trusted_document import TrustedDocument, TrustedDocumentFilter, list_trusted_documents
from schema.user import User, UserFilter, UserOrder, list_users
from schema.viewer import Viewer

MOST_NODES: Final = 100
"""Ids that one `nodes` takes."""


async def _by_global_id(info: strawberry.Info, value: str, *, at: Path) -> Any:
    type_name, row_id = split_id(value, at=at)
    declared = TYPES.get(type_name)
    core: Any = info._raw_info.schema.type_map.get(type_name)
    if declared is None or declared.model is None or not getattr(core, "interfaces", ()):
        return None
    return await load_selected(info, declared.model, row_id)


@strawberry.type(description="Where reading begins. Everything is of the one organization you are signed in to.")
class Query(DataQuery):
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
        return await load_by_id(info, OrganizationModel, "Organization", organization_id)

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

    @resolved("A person by their id.", root())
    async def user(info: strawberry.Info, id: strawberry.ID) -> User | None:
        return await load_by_id(info, Membership, "User", id)

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
        return await load_by_id(info, InvitationModel, "Invitation", id)

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
        return await load_by_id(info, CustomRoleModel, "CustomRole", id)

    @resolved("The organization's own roles.", root())
    async def roles(
        info: strawberry.Info,
        filter: CustomRoleFilter | None = None,
        direction: OrderDirection = OrderDirection.ASC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[CustomRole] | None:
        return await list_roles(info, filter, direction, PageArguments(first, after, last, before))

    @resolved("A service account by its id.", root())
    async def service_account(info: strawberry.Info, id: strawberry.ID) -> ServiceAccount | None:
        return await load_by_id(info, ServiceAccountModel, "ServiceAccount", id)

    @resolved("The organization's service accounts.", root())
    async def service_accounts(
        info: strawberry.Info,
        filter: ServiceAccountFilter | None = None,
        direction: OrderDirection = OrderDirection.ASC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[ServiceAccount] | None:
        return await list_service_accounts(info, filter, direction, PageArguments(first, after, last, before))

    @resolved("A review of access by its id.", root())
    async def access_review(info: strawberry.Info, id: strawberry.ID) -> AccessReview | None:
        return await load_by_id(info, AccessReviewModel, "AccessReview", id)

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
        return await load_by_id(info, TrustedDocumentModel, "TrustedDocument", id)

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
        return await load_by_id(info, DataImportModel, "DataImport", id)

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
        return await load_by_id(info, ImportMappingModel, "ImportMapping", id)

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
        return await load_by_id(info, IncidentModel, "Incident", id)

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
        return await load_by_id(info, DataExportModel, "Export", id)

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
        return await load_by_id(info, ErasureRequestModel, "ErasureRequest", id)

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

    @resolved(
        "How long everything is kept that a period can be set for: data by their types, and the audit trail, as far as"
        " you may read that.",
        root(takes=Permission.RETENTION_READ),
    )
    async def retention(info: strawberry.Info) -> list[RetentionPeriod] | None:
        return await list_periods(info)

    @resolved(
        "What would be deleted now of one type, with nothing deleted: a dry run. It takes reading all rows of the type"
        " in the organization as well.",
        root(takes=Permission.RETENTION_READ),
    )
    async def retention_preview(
        info: strawberry.Info,
        kind: Annotated[DataKind, strawberry.argument(description="Of which type.")],
        days: PREVIEW_DAYS = None,
        first: PREVIEW_FIRST = 100,
        after: PREVIEW_AFTER = None,
    ) -> RetentionPreview | None:
        return await look_ahead(info, kind, days, first, after)

    @resolved("The runs that deleted what was over, newest first: empty for those who may not read them.", root())
    async def retention_runs(
        info: strawberry.Info,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[RetentionRun] | None:
        return await list_runs(info, direction, PageArguments(first, after, last, before))

    @resolved("A legal hold by its id.", root())
    async def legal_hold(info: strawberry.Info, id: strawberry.ID) -> LegalHold | None:
        return await load_by_id(info, LegalHoldModel, "LegalHold", id)

    @resolved("The legal holds of the organization, newest first: empty for those who may not read them.", root())
    async def legal_holds(
        info: strawberry.Info,
        filter: LegalHoldFilter | None = None,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[LegalHold] | None:
        return await list_holds(info, filter, direction, PageArguments(first, after, last, before))

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
