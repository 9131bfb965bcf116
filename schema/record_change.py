"""Mutations of records: making and changing them, and their way through review."""

from datetime import datetime
from typing import Any

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.measurement import Measurement as MeasurementModel
from models.record import Medium, SignatureMeaning
from models.record import Record as RecordModel
from resolvers.record import NewMeasurement, NewRecord, create_record, delete_record, update_record
from resolvers.record_review import approve_record, reject_record, submit_record
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.record import Record
from schema.written import writes, written_values

AT_ID = ("input", "id")
AT_PROJECT = ("input", "projectId")
AT_DEVICE = ("input", "deviceId")

DONE_AT = (
    "When it was done by the device's own clock, where it is sent later. It is kept in the audit trail, and changes"
    " nothing: the server's clock says when it came, and in which order."
)


@writes(MeasurementModel)
@strawberry.input(description="One result, in the words of the Water Quality Exchange (WQX).")
class MeasurementInput:
    characteristic: str = strawberry.field(description="What was measured.")
    fraction: str | None = strawberry.field(default=None, description="Which part of the sample.")
    value: float | None = strawberry.field(default=None, description="The number.")
    value_reported: str | None = strawberry.field(
        default=None, description="The value as it was reported, where that is more than the number."
    )
    unit: str | None = strawberry.field(default=None, description="The unit of the value.")
    qualifier: str | None = strawberry.field(default=None, description="The laboratory's qualifier.")
    detection_condition: str | None = strawberry.field(default=None, description="Why there is no value.")
    detection_limit: float | None = strawberry.field(default=None, description="The limit of detection.")
    detection_limit_unit: str | None = strawberry.field(default=None, description="The unit of that limit.")
    detection_limit_type: str | None = strawberry.field(default=None, description="Which limit it is.")
    method: str | None = strawberry.field(default=None, description="The analytical method.")
    result_status: str | None = strawberry.field(default=None, description="How final the result is.")
    value_type: str | None = strawberry.field(default=None, description="Actual, calculated or estimated.")
    comment: str | None = strawberry.field(default=None, description="What was noted about the result.")


@writes(RecordModel, beside=("measurements",))
@strawberry.input(description="A new record.")
class CreateRecordInput:
    project_id: strawberry.ID = strawberry.field(description="The project it belongs to.")
    site_code: str = strawberry.field(description="The site's code.")
    collected_at: datetime = strawberry.field(description="When it was collected.")
    medium: Medium = strawberry.field(description="What was sampled.")
    site_name: str | None = strawberry.field(default=None, description="The site's name.")
    latitude: float | None = strawberry.field(
        default=None, description="Degrees north, WGS 84: always the exact place."
    )
    longitude: float | None = strawberry.field(
        default=None, description="Degrees east, WGS 84: always the exact place."
    )
    activity_type: str | None = strawberry.field(
        default=None, description="What it is, in WQX's words: a routine sample, a blank, a replicate."
    )
    method: str | None = strawberry.field(default=None, description="How it was collected.")
    collector: str | None = strawberry.field(default=None, description="Who collected it.")
    comment: str | None = strawberry.field(default=None, description="What was noted in the field.")
    device_id: strawberry.ID | None = strawberry.field(
        default=None, description="The device it was made on; the session's own if none is named."
    )
    measurements: list[MeasurementInput] = strawberry.field(default_factory=list, description="The results.")
    id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUIDv7 that the client made, so that trying again does no harm."
    )
    done_at: datetime | None = strawberry.field(default=None, description=DONE_AT)


@writes(RecordModel, beside=("measurements",))
@strawberry.input(description="Changes of a record. What is left out stays.")
class UpdateRecordInput:
    id: strawberry.ID = strawberry.field(description="Which record.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    site_code: str | None = strawberry.field(default=strawberry.UNSET, description="Another site's code.")
    site_name: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    latitude: float | None = strawberry.field(
        default=strawberry.UNSET, description="Of the exact place. Null takes it away."
    )
    longitude: float | None = strawberry.field(
        default=strawberry.UNSET, description="Of the exact place. Null takes it away."
    )
    collected_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="Another time.")
    medium: Medium | None = strawberry.field(default=strawberry.UNSET, description="Another medium.")
    activity_type: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    method: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    collector: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    comment: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    measurements: list[MeasurementInput] | None = strawberry.field(
        default=None, description="All the results anew; null leaves them."
    )
    reason: str | None = strawberry.field(
        default=None, description="Why. Demanded where the record is under review or approved."
    )
    done_at: datetime | None = strawberry.field(default=None, description=DONE_AT)


@strawberry.input(description="A record at a version.")
class RecordVersionInput:
    id: strawberry.ID = strawberry.field(description="Which record.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")
    done_at: datetime | None = strawberry.field(default=None, description=DONE_AT)


@strawberry.input(description="An electronic signature of a record at a version.")
class ApproveRecordInput:
    id: strawberry.ID = strawberry.field(description="Which record.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    meaning: SignatureMeaning = strawberry.field(description="What your signature says.")
    password: str = strawberry.field(description="Your own, with each signature. Five wrong ones in a sign-in end it.")
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")
    done_at: datetime | None = strawberry.field(default=None, description=DONE_AT)


@strawberry.input(description="A record at a version, and why.")
class RecordReasonInput:
    id: strawberry.ID = strawberry.field(description="Which record.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")
    done_at: datetime | None = strawberry.field(default=None, description=DONE_AT)


@structure
@strawberry.type(description="A record after a mutation, or why nothing was done.")
class RecordPayload:
    record: Record | None = shows(RecordModel, "The record as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="What was deleted, or why nothing was.")
class DeleteRecordPayload:
    deleted_id: strawberry.ID | None = strawberry.field(description="The id of what is gone.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class RecordMutation:
    @mutation(
        "Create a record as a draft.",
        Action.RECORD_CREATE,
        takes=(P.RECORD_CREATE,),
        entity=RecordModel,
        subject="Record",
    )
    async def create_record(info: strawberry.Info, input: CreateRecordInput) -> RecordPayload | None:
        given = written_values(input)
        given["project_id"] = parse_id(input.project_id, "Project", at=AT_PROJECT)
        if input.device_id is not None:
            given["device_id"] = parse_id(input.device_id, "Device", at=AT_DEVICE)
        new = NewRecord(**given, measurements=_measurements(input.measurements))
        record_id = parse_id(input.id, "Record", at=AT_ID) if input.id is not None else None
        return done(await create_record(current_change(info), record_id=record_id, new=new))

    @mutation(
        "Change a record. It becomes a draft again; an approval lapses.",
        Action.RECORD_UPDATE,
        takes=(P.RECORD_UPDATE, P.RECORD_UPDATE_OWN),
        entity=RecordModel,
        subject="Record",
    )
    async def update_record(info: strawberry.Info, input: UpdateRecordInput) -> RecordPayload | None:
        return done(
            await update_record(
                current_change(info),
                record_id=parse_id(input.id, "Record", at=AT_ID),
                expected_version=input.expected_version,
                values=written_values(input),
                measurements=None if input.measurements is None else _measurements(input.measurements),
            )
        )

    @mutation(
        "Hand a record over for review.",
        Action.RECORD_SUBMIT,
        takes=(P.RECORD_SUBMIT,),
        entity=RecordModel,
        subject="Record",
    )
    async def submit_record(info: strawberry.Info, input: RecordVersionInput) -> RecordPayload | None:
        return done(await submit_record(current_change(info), **_version(input)))

    @mutation(
        "Sign a record under review: it is approved.",
        Action.RECORD_APPROVE,
        takes=(P.RECORD_REVIEW,),
        entity=RecordModel,
        subject="Record",
        signs=True,
    )
    async def approve_record(info: strawberry.Info, input: ApproveRecordInput) -> RecordPayload | None:
        return done(await approve_record(current_change(info), **_version(input), meaning=input.meaning))

    @mutation(
        "Send a record under review back.",
        Action.RECORD_REJECT,
        takes=(P.RECORD_REVIEW,),
        entity=RecordModel,
        subject="Record",
        reason_demanded=True,
    )
    async def reject_record(info: strawberry.Info, input: RecordReasonInput) -> RecordPayload | None:
        return done(await reject_record(current_change(info), **_version(input)))

    @mutation(
        "Delete a record. The audit trail keeps what it was.",
        Action.RECORD_DELETE,
        takes=(P.RECORD_DELETE,),
        entity=RecordModel,
        subject="Record",
        reason_demanded=True,
    )
    async def delete_record(info: strawberry.Info, input: RecordReasonInput) -> DeleteRecordPayload | None:
        row_id = await delete_record(current_change(info), **_version(input))
        return DeleteRecordPayload(deleted_id=strawberry.ID(f"Record:{row_id}"), errors=[])


def _version(given: RecordVersionInput | ApproveRecordInput | RecordReasonInput) -> dict[str, Any]:
    return {"record_id": parse_id(given.id, "Record", at=AT_ID), "expected_version": given.expected_version}


def _measurements(given: list[MeasurementInput]) -> list[NewMeasurement]:
    return [NewMeasurement(**written_values(one)) for one in given]
