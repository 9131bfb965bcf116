"""Mutations of exports."""

from collections.abc import Sequence
from dataclasses import is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

import orjson
import strawberry
from strawberry.utils.str_converters import to_camel_case

from auth.action import Action
from auth.permission import Permission as P
from models.data_export import DataExport as DataExportModel
from models.data_export import ExportFormat
from models.errors import InvalidInputError
from models.inventory import entity_of
from resolvers.export import NewExport, cancel_export, create_export, create_export_link, delete_export
from resolvers.export_job import MAKE_EXPORTS
from schema.context import context_of
from schema.data_export import Export
from schema.field import derived, structure
from schema.filter import FILTERS, words_of
from schema.measurement_group import MeasurementFilter, measurement_conditions
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.record import RecordFilter, record_conditions
from schema.written import writes

AT_ID = ("input", "id")
VEIL: Final = "…"
"""Stands in what is kept of a filter for a value that not everybody who reads it may know."""
_CLIENT_ID = "A UUIDv7 that the client made, so that trying again does no harm."


@writes(DataExportModel, filter="filter_given", search="filter_given", measurements="filter_given")
@strawberry.input(description="Which records are exported, and as what.")
class CreateExportInput:
    format: ExportFormat = strawberry.field(
        description="What the file is; for an ARCHIVE there is `createArchive`, for what is yours `exportMyData`."
    )
    filter: RecordFilter | None = strawberry.field(
        default=None, description="Which records, as `records` finds them; all that you may export if left out."
    )
    search: str | None = strawberry.field(
        default=None, description="The words that the records have, as `records` searches them; all if left out."
    )
    measurements: MeasurementFilter | None = strawberry.field(
        default=None,
        description="Which of their measurements, as `measurementGroups` finds them; records without any of these are"
        " left out. All if left out.",
    )
    id: strawberry.ID | None = strawberry.field(default=None, description=_CLIENT_ID)
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@strawberry.input(description="Why everything is taken.")
class CreateArchiveInput:
    id: strawberry.ID | None = strawberry.field(default=None, description=_CLIENT_ID)
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="That what is yours is exported.")
class ExportMyDataInput:
    id: strawberry.ID | None = strawberry.field(default=None, description=_CLIENT_ID)
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@strawberry.input(description="Which export.")
class ExportInput:
    id: strawberry.ID = strawberry.field(description="Which export.")
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@structure
@strawberry.type(description="An export after a mutation, or why nothing was done.")
class ExportPayload:
    export: Export | None = shows(DataExportModel, "The export as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="A link to an export's file, or why there is none.")
class CreateExportLinkPayload:
    export: Export | None = shows(DataExportModel, "The export as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())

    token: str | None = strawberry.field(
        name="url",
        description="The path of the link, on this server. Whoever has it takes the file, for five minutes, as long as"
        " your sign-in stands and you may read what is in it. Shown this once; a new one ends the one before.",
        metadata=derived(),
    )


@strawberry.type
class ExportMutation:
    @mutation(
        "Ask for a file of the records that a filter finds, as you may read them. It is made in the background.",
        Action.EXPORT_CREATE,
        takes=(P.RECORD_EXPORT,),
        entity=DataExportModel,
        subject="Export",
    )
    async def create_export(info: strawberry.Info, input: CreateExportInput) -> ExportPayload | None:
        if input.format in (ExportFormat.ARCHIVE, ExportFormat.PERSON):
            raise InvalidInputError("Expected a format of records.", field=("input", "format"))
        words = words_of(input.search)
        of_measurements = await measurement_conditions(info, input.measurements, argument="measurements")
        said, kept = (_said(input, words, of_measurements, veils=veils) for veils in (False, True))
        new = NewExport(
            format=input.format,
            filter=kept,
            filter_said=said,
            conditions=[*await record_conditions(info, input.filter), *words],
            of_measurements=of_measurements,
        )
        return await _create(info, input.id, new)

    @mutation(
        "Ask for an archive of everything of the organization, as you may read it. It is made in the background.",
        Action.EXPORT_CREATE,
        takes=(P.EXPORT_ARCHIVE,),
        entity=DataExportModel,
        subject="Export",
        reason_demanded=True,
        fresh=True,
    )
    async def create_archive(info: strawberry.Info, input: CreateArchiveInput) -> ExportPayload | None:
        return await _create(info, input.id, NewExport(format=ExportFormat.ARCHIVE))

    @mutation(
        "Ask for everything of you in the organization as one archive: your account, roles, devices, sign-ins, letters,"
        " what you did, and what you made as you may read it. It is made in the background.",
        Action.EXPORT_CREATE,
        takes=(P.EXPORT_READ,),
        entity=DataExportModel,
        subject="Export",
        fresh=True,
    )
    async def export_my_data(info: strawberry.Info, input: ExportMyDataInput) -> ExportPayload | None:
        return await _create(info, input.id, NewExport(format=ExportFormat.PERSON))

    @mutation(
        "Stop an export that is not ready yet.",
        Action.EXPORT_CANCEL,
        takes=(P.EXPORT_DELETE,),
        entity=DataExportModel,
        subject="Export",
    )
    async def cancel_export(info: strawberry.Info, input: ExportInput) -> ExportPayload | None:
        _wake(info)
        return done(await cancel_export(current_change(info), export_id=parse_id(input.id, "Export", at=AT_ID)))

    @mutation(
        "Destroy the file of an export. What is known of it stays.",
        Action.EXPORT_DELETE,
        takes=(P.EXPORT_DELETE,),
        entity=DataExportModel,
        subject="Export",
    )
    async def delete_export(info: strawberry.Info, input: ExportInput) -> ExportPayload | None:
        _wake(info)
        return done(await delete_export(current_change(info), export_id=parse_id(input.id, "Export", at=AT_ID)))

    @mutation(
        "Make a link to the file of an export of yours, for where a header can't be sent.",
        Action.EXPORT_CREATE_LINK,
        takes=(P.EXPORT_READ,),
        entity=DataExportModel,
        subject="Export",
    )
    async def create_export_link(info: strawberry.Info, input: ExportInput) -> CreateExportLinkPayload | None:
        export_id, path = await create_export_link(
            current_change(info), export_id=parse_id(input.id, "Export", at=AT_ID)
        )
        return done(export_id, token=path)


def given_of(value: Any, *, veils: bool = False) -> Any:
    """Return an input as it was given, by the names of the API, without what was left out.

    veils: with `VEIL` for each value that is compared by a blind index, for what is kept of it: whoever reads what
    somebody asked for need not be one who may read such values.
    """
    if is_dataclass(value):
        definition: Any = getattr(type(value), "__strawberry_definition__")  # noqa: B009  (set by strawberry.input)
        named = [(one.graphql_name or to_camel_case(one.python_name), one.python_name) for one in definition.fields]
        found = {name: getattr(value, python_name) for name, python_name in named}
        # A filter that was left out is None; a null that was given is inside of an operator, whose rest is UNSET.
        is_operator = any(one.default is strawberry.UNSET for one in definition.fields)
        left_out = (strawberry.UNSET,) if is_operator else (strawberry.UNSET, None)
        sealed = {name for name, python_name in named if veils and _is_sealed(type(value), python_name)}
        return {
            name: _veiled(given_of(one)) if name in sealed else given_of(one, veils=veils)
            for name, one in found.items()
            if not any(one is nothing for nothing in left_out)
        }
    if isinstance(value, list):
        return [given_of(one, veils=veils) for one in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def _said(input: CreateExportInput, words: Sequence[Any], of_measurements: Sequence[Any], *, veils: bool) -> str | None:
    """Return what is asked for, as JSON; None where that is everything."""
    given = given_of(input.filter, veils=veils) or {}
    if words:
        # Beside what is compared: no record has a column of that name, nor of that of measurements.
        given["search"] = input.search
    if of_measurements:
        given["measurements"] = given_of(input.measurements, veils=veils)
    return orjson.dumps(given).decode() if given else None


def _is_sealed(kind: type[Any], name: str) -> bool:
    """Return whether a field of a filter is compared with a column that is stored sealed."""
    model = FILTERS.get(kind.__name__)
    column = entity_of(model).columns.get(name) if model is not None else None
    return column is not None and column.is_sealed


def _veiled(value: Any) -> Any:
    """Return an operator with its values veiled; that absence is asked for tells nothing of anybody."""
    if isinstance(value, dict):
        return {name: _veiled(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_veiled(one) for one in value]
    return VEIL if isinstance(value, str) else value


async def _create(info: strawberry.Info, client_id: str | None, new: NewExport) -> Any:
    export_id = parse_id(client_id, "Export", at=AT_ID) if client_id is not None else None
    made = await create_export(current_change(info), export_id=export_id, new=new)
    _wake(info)
    return done(made)


def _wake(info: strawberry.Info) -> None:
    context_of(info).services.wake_afterwards(MAKE_EXPORTS)
