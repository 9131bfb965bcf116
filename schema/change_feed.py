"""What changed since a cursor, for whoever keeps a copy or a page up to date: pulled, or pushed as it happens.

An object is shown as the viewer may read it now, and not as it was when it changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final

import strawberry

from models.base import WardModel
from models.device import Device as DeviceModel
from models.encryption.owner import index_owner
from models.errors import InvalidInputError
from models.feed import ChangedObject
from models.inventory import Entity, entity_of
from models.project import Project as ProjectModel
from models.record import Record as RecordModel
from models.site import Site as SiteModel
from resolvers.feed import (
    DEFAULT_PAGE,
    LARGEST_PAGE,
    FeedPage,
    Following,
    newest_position,
    open_position,
    read_feed,
    seal_position,
)
from schema.context import RequestContext, context_of
from schema.device import Device
from schema.field import around_rows, derived, resolved
from schema.node import parse_id
from schema.project import Project
from schema.record import Record
from schema.selection import load_selected
from schema.site import Site


@strawberry.enum(description="Of which type an object is that changes are told of.")
class ChangedType(Enum):
    RECORD = "RECORD"
    DEVICE = "DEVICE"
    PROJECT = "PROJECT"
    SITE = "SITE"


@strawberry.enum(description="What became of an object.")
class ObjectChangeKind(Enum):
    CREATED = strawberry.enum_value("CREATED", description="It was made since.")
    UPDATED = strawberry.enum_value("UPDATED", description="It was there, and something of it is other than before.")
    DELETED = strawberry.enum_value("DELETED", description="It is no more.")


_MODELS: Final[Mapping[ChangedType, type[WardModel]]] = {
    ChangedType.RECORD: RecordModel,
    ChangedType.DEVICE: DeviceModel,
    ChangedType.PROJECT: ProjectModel,
    ChangedType.SITE: SiteModel,
}
_TYPE_NAMES: Final[Mapping[ChangedType, str]] = {
    ChangedType.RECORD: "Record",
    ChangedType.DEVICE: "Device",
    ChangedType.PROJECT: "Project",
    ChangedType.SITE: "Site",
}

Types = Annotated[
    list[ChangedType] | None,
    strawberry.argument(description="Of which types of objects changes are told; of all, if none is named."),
]
OfProject = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Of the objects of which project alone. Devices are in none."),
]
Since = Annotated[
    str | None,
    strawberry.argument(description="The `cursor` of the page before; without one, from now on."),
]
FirstChanges = Annotated[
    int,
    strawberry.argument(description=f"How many changed objects at the most, {LARGEST_PAGE} at most."),
]


@around_rows
@strawberry.type(description="An object that changed. Of several changes between two cursors it may be one.")
class ObjectChange:
    @resolved("What became of it.", derived())
    def kind(src: strawberry.Parent[Any]) -> ObjectChangeKind:
        change: ChangedObject = src
        if change.is_gone:
            return ObjectChangeKind.DELETED
        return ObjectChangeKind.CREATED if change.is_new else ObjectChangeKind.UPDATED

    @resolved("Of which type it is.", derived())
    def type(src: strawberry.Parent[Any]) -> ChangedType:
        return _type_of(src)

    @resolved("Its id, as in `node`.", derived())
    def id(src: strawberry.Parent[Any]) -> strawberry.ID:
        return strawberry.ID(f"{_TYPE_NAMES[_type_of(src)]}:{src.row_id}")

    @resolved("When the transaction of the last change began, by the database's clock.", derived())
    def at(src: strawberry.Parent[Any]) -> datetime:
        change: ChangedObject = src
        return change.at

    @resolved("The record as it is now; null where it is none, was deleted, or is not yours to see.", derived())
    async def record(src: strawberry.Parent[Any], info: strawberry.Info) -> Record | None:
        return await _load(info, src, ChangedType.RECORD)

    @resolved("The device as it is now; null where it is none, or is not yours to see any more.", derived())
    async def device(src: strawberry.Parent[Any], info: strawberry.Info) -> Device | None:
        return await _load(info, src, ChangedType.DEVICE)

    @resolved("The project as it is now; null where it is none, or is not yours to see.", derived())
    async def project(src: strawberry.Parent[Any], info: strawberry.Info) -> Project | None:
        return await _load(info, src, ChangedType.PROJECT)

    @resolved("The site as it is now; null where it is none, was deleted, or is not yours to see.", derived())
    async def site(src: strawberry.Parent[Any], info: strawberry.Info) -> Site | None:
        return await _load(info, src, ChangedType.SITE)


@around_rows
@strawberry.type(description="What changed since a cursor, in the order in which transactions came to stand.")
class ChangePage:
    @resolved(
        "The objects that changed, each once: those that you see, or saw until they were handed over. There may be none"
        " although `hasMore` says that there is more.",
        derived(),
    )
    def changes(src: strawberry.Parent[Any]) -> list[ObjectChange]:
        found: Any = list(src.page.changes)
        return found

    @resolved("Where to go on: the next `after`. Good for you alone, for as long as the trail is kept.", derived())
    def cursor(src: strawberry.Parent[Any]) -> str:
        told: Told = src
        return seal_position(told.context.viewer, told.page.position)

    @resolved("Whether there is more already.", derived())
    def has_more(src: strawberry.Parent[Any]) -> bool:
        told: Told = src
        return told.page.has_more

    @resolved(
        "Whether what you may read has become other than it was at the cursor before, or it was decided otherwise"
        " whether a project's places are sensitive. What you see since then, and did not see before, is not among the"
        " changes, nor is what you see no more: fetch everything anew.",
        derived(),
    )
    def access_changed(src: strawberry.Parent[Any]) -> bool:
        told: Told = src
        return told.page.access_changed


@dataclass(frozen=True, slots=True)
class Told:
    """A page, and the operation that it is answered to."""

    context: RequestContext
    page: FeedPage


async def list_changes(
    info: strawberry.Info,
    types: Sequence[ChangedType] | None,
    project_id: str | None,
    after: str | None,
    first: int,
) -> Any:
    """Return what changed since a cursor, in what the viewer sees; without one nothing, and the cursor of now.

    Raises:
        InvalidInputError: it is no cursor of the feed, no id of a project, or the page has no size that one can have.
        OutdatedCursorError: not all that changed since can be told any more.
    """
    return await _told(info, Following(), types, project_id, after, first)


async def follow_changes(
    info: strawberry.Info, types: Sequence[ChangedType] | None, project_id: str | None, after: str | None
) -> Any:
    """Return what changed since the subscription's last event, or at its first since a cursor; and go on from there.

    Raises: as `list_changes`; and `InvalidInputError` where nothing is pushed.
    """
    following = context_of(info).following
    if following is None:
        raise InvalidInputError("Subscriptions are answered over a WebSocket, by graphql-transport-ws.")
    return await _told(info, following, types, project_id, after, DEFAULT_PAGE)


async def _told(
    info: strawberry.Info,
    following: Following,
    types: Sequence[ChangedType] | None,
    project_id: str | None,
    after: str | None,
    first: int,
) -> "Told":
    context, project = context_of(info), None
    if project_id is not None:
        project = parse_id(project_id, "Project", at=("projectId",))
    viewer = context.viewer
    await context.services.keyring.load([index_owner(viewer.organization_id)])
    position = following.position
    if position is None and after is not None:
        position = open_position(viewer, after)
    async with context.reader.use() as connection:
        if position is None:
            position = await newest_position(connection, viewer)
    async with context.reader.use() as connection:
        page = await read_feed(connection, viewer, position, entities_of(types), first=first, project_id=project)
    following.position, following.page = page.position, page
    return Told(context, page)


def entities_of(types: Sequence[ChangedType] | None) -> list[Entity]:
    """Return the tables of the types; of all types where none is named."""
    wanted = types or list(_MODELS)
    return [entity_of(model) for one, model in _MODELS.items() if one in wanted]


def _type_of(change: ChangedObject) -> ChangedType:
    return next(one for one, model in _MODELS.items() if entity_of(model).name == change.entity)


async def _load(info: strawberry.Info, change: ChangedObject, wanted: ChangedType) -> Any:
    if change.is_gone or _type_of(change) is not wanted:
        return None
    return await load_selected(info, _MODELS[wanted], change.row_id)
