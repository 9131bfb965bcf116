"""Creating, changing and deleting records with their measurements."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from auth.errors import ForbiddenError
from auth.permission import Permission
from auth.policy import can, permissions_in, require
from auth.principal import Viewer
from auth.scope import Scope, project_scope
from models.base import new_id
from models.device import Device, DeviceStatus
from models.encryption.codec import Point
from models.errors import ConflictError
from models.inventory import entity_of
from models.legal_hold import HoldOn, holds_on_record, lock_holds
from models.measurement import Measurement
from models.project import Project
from models.record import Medium, Record, RecordStatus
from models.record_field import RecordField
from models.transaction import fetch
from resolvers.change import Change
from resolvers.checking import Path, require_reason, require_some, require_time
from resolvers.collector import collector_columns, load_collectors
from resolvers.creating import creation_digest, repeats, require_new_id
from resolvers.held import require_not_held
from resolvers.location import LOCATION, location_columns, moved, require_whole
from resolvers.locking import Held, Wanted, hold_visible, lock_visible, require_on, require_version, scope_of_model
from resolvers.project import hold_active_project, require_active
from resolvers.switched_off import require_switched_on
from resolvers.writing import require_writable

MOST_MEASUREMENTS = 500
"""A multi-parameter sonde's profile has some hundreds of results; more belong into more records."""

AT_PROJECT: Path = ("input", "projectId")
AT_DEVICE: Path = ("input", "deviceId")

PROJECT_COLUMNS = ("status", "locations_are_sensitive", "fields_off")
"""What of a project decides whether and how a record goes into it."""
JUDGED = ("created_by_id", "contributor_ids", "status")
"""The columns that a record's way through review is judged by."""
UNDER_WAY = frozenset({RecordStatus.DRAFT, RecordStatus.REJECTED})
"""The states in which a record is still in the hands of who made it."""

CONTRIBUTED = ("contributor_ids",)
REVIEWED = ("reviewed_by_id", "reviewer", "reviewed_at", "review_reason", "review_meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMeasurement:
    """One result as it was reported. `detection_limit` is in `detection_limit_unit`, `value` in `unit`."""

    characteristic: str
    fraction: str | None = None
    value: float | None = None
    value_reported: str | None = None
    unit: str | None = None
    qualifier: str | None = None
    detection_condition: str | None = None
    detection_limit: float | None = None
    detection_limit_unit: str | None = None
    detection_limit_type: str | None = None
    method: str | None = None
    result_status: str | None = None
    value_type: str | None = None
    comment: str | None = field(default=None, repr=False)
    source_row: str | None = field(default=None, repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """The measurement's own columns."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """What a record is created from. Degrees are WGS 84."""

    project_id: UUID
    site_code: str
    collected_at: datetime
    medium: Medium
    site_name: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    collected_at_reported: str | None = None
    activity_type: str | None = None
    method: str | None = None
    collector: str | None = field(default=None, repr=False)
    comment: str | None = field(default=None, repr=False)
    device_id: UUID | None = None
    measurements: Sequence[NewMeasurement] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The record's own columns."""
        return {name: getattr(self, name) for name in self.__slots__ if name not in {"project_id", "measurements"}}


async def create_record(change: Change, *, record_id: UUID | None, new: NewRecord) -> UUID:
    """Create a draft with its measurements and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `record:create` in the project.
        InvalidInputError, ConflictError: the project is archived, the device is blocked, the id is taken, or a place
            has one of its two degrees.
    """
    project, device = _project(new.project_id, at=AT_PROJECT), _device(new.device_id)
    held = await hold_visible(change, project, *device)
    scope = project_scope(new.project_id)
    found = held.found(project)
    require(change.viewer, Permission.RECORD_CREATE, scope)
    require_active(found["status"], at=AT_PROJECT)
    values = new.values
    _require_writable(change, scope, values, is_new=True)
    _require_measurements_writable(change, scope, new.measurements)
    off = found["fields_off"] or ()
    require_switched_on(entity_of(Record), off, values, at=("input",))
    require_whole(Point(new.latitude, new.longitude))
    _require_measurements_switched_on(off, new.measurements)
    row_id = record_id or new_id()
    require_new_id(row_id)
    digest = creation_digest(
        change.organization_id,
        {
            **values,
            "project_id": new.project_id,
            "measurements": [one.values for one in new.measurements],
            # Whoever repeats it is who said it: nobody tries values against what another has made.
            "by": sorted(change.viewer.hands),
        },
    )
    # What was made up here and now is nobody else's id.
    if record_id is not None and await repeats(change, Record, row_id, digest):
        return row_id
    _require_good_device(held, device)
    await load_collectors(change.organization_id, [new.collector])
    made = record_values(change, row_id, new, is_sensitive=found["locations_are_sensitive"])
    await change.insert(
        Record, [{**made, "device_id": new.device_id or _own_device(change, off), "creation_digest": digest}]
    )
    await _write_measurements(change, row_id, new.project_id, new.measurements)
    return row_id


async def update_record(
    change: Change,
    *,
    record_id: UUID,
    expected_version: int,
    values: dict[str, Any],
    measurements: Sequence[NewMeasurement] | None,
) -> UUID:
    """Change the given columns of a record, or all of its measurements, and return its id.

    A record under review or approved is changed by who may change any, with a reason, and becomes a draft again: what
    was approved is not what is there now, so the approval lapses, and who changed it is not the one who approves it
    anew. The trail keeps the signature (docs/decisions/0018-signatures.md).

    Raises:
        NotFoundError, ForbiddenError: without `record:update`, or `record:update_own` on one's own draft; where others
            are put in the place of measurements, of which the viewer may not read all that is given.
        InvalidInputError: a value does not fit, of a place one of two degrees is left, or there is no reason where one
            is demanded.
        ConflictError: another version; an archived project.
    """
    if "site_code" in values:
        await lock_holds(change.connection, change.organization_id)
    record = await lock_visible(change, Record, record_id)
    _require_may_update(change, record)
    require_version(record.version, expected_version)
    project = await hold_active_project(change, record.project_id)
    is_sensitive = project.locations_are_sensitive
    scope = scope_of_model(change, record)
    _require_writable(change, scope, values)
    require_switched_on(entity_of(Record), project.fields_off, values, at=("input",))
    if measurements is not None:
        _require_measurements_writable(change, scope, measurements)
        await _require_replaceable(change, scope, record_id)
        _require_measurements_switched_on(project.fields_off, measurements)
    if values.get("site_code", record.site_code) != record.site_code:
        # At another site it would lie outside of a hold on the one that it is of.
        holds = await holds_on_record(change.connection, change.organization_id, record_id)
        require_not_held([one for one in holds if one.on is HoldOn.SITE], at=("input", "siteCode"))
    if record.status not in UNDER_WAY:
        is_approved = record.status is RecordStatus.APPROVED
        what = f"a change of a record that is {'approved' if is_approved else 'under review'}"
        require_reason(change.intent.reason, what=what)
    if not LOCATION.isdisjoint(values):
        theirs = change.viewer.hands.issuperset(record.contributor_ids)
        place = await moved(change, record, values, scope, is_sensitive=is_sensitive, is_all_theirs=theirs)
        values = {**values, **place}
    columns = [*values, "status", "version", *CONTRIBUTED, *REVIEWED]
    if "device_id" in values:
        device = _device(values["device_id"])
        if device:
            _require_good_device(await hold_visible(change, *device), device)
        values = {**values, "device_id": values["device_id"] or _own_device(change, project.fields_off)}
    for name, value in values.items():
        setattr(record, name, value)
    if "collected_at" in values:
        record.collected_at_reported = None
        columns.append("collected_at_reported")
    if "collector" in values:
        await load_collectors(change.organization_id, [values["collector"]])
        about = collector_columns(change.organization_id, values["collector"])
        record.collector_index, record.collector_pseudonym = about["collector_index"], about["collector_pseudonym"]
        columns += about
    # A draft again: what a reviewer said of it, they said of another version. The trail keeps it.
    for name in REVIEWED:
        setattr(record, name, None)
    record.status = RecordStatus.DRAFT
    record.version += 1
    note_contributor(change, record)
    await record.save(using_db=change.connection, update_fields=columns)
    if measurements is not None:
        await (
            Measurement.filter(organization_id=change.organization_id, record_id=record.id)
            .using_db(change.connection)
            .delete()
        )
        await _write_measurements(change, record.id, record.project_id, measurements)
    return record_id


async def delete_record(change: Change, *, record_id: UUID, expected_version: int) -> UUID:
    """Delete a record and its measurements; the trail keeps what they were. Returns the id.

    Raises:
        NotFoundError, ForbiddenError: without `record:delete`.
        InvalidInputError: no reason was given.
        ConflictError: another version; an archived project; a legal hold keeps it.
    """
    await lock_holds(change.connection, change.organization_id)
    record = await lock_visible(change, Record, record_id)
    require_on(change, Permission.RECORD_DELETE, record)
    require_reason(change.intent.reason)
    require_version(record.version, expected_version)
    require_not_held(await holds_on_record(change.connection, change.organization_id, record_id))
    await hold_active_project(change, record.project_id)
    await record.delete(using_db=change.connection)
    return record_id


def record_values(change: Change, row_id: UUID, new: NewRecord, *, is_sensitive: bool) -> dict[str, Any]:
    """Return the columns of the record, as it is written. The keys of its collector are in memory.

    is_sensitive: whether the locations of its project are.
    """
    values = {
        **new.values,
        "id": row_id,
        "organization_id": change.organization_id,
        "project_id": new.project_id,
        "created_by_id": change.viewer.membership_id,
        "contributor_ids": sorted(change.viewer.hands),
        "created_at": change.at,
        "received_at": change.at,
        **collector_columns(change.organization_id, new.collector),
    }
    if is_sensitive:
        values |= location_columns(Point(new.latitude, new.longitude), is_sensitive=True)
    return values


def measurement_values(
    change: Change, record_id: UUID, project_id: UUID, row_id: UUID, position: int, new: NewMeasurement
) -> dict[str, Any]:
    """Return the columns of a measurement of a record, as it is written."""
    return {
        **new.values,
        "id": row_id,
        "organization_id": change.organization_id,
        "project_id": project_id,
        "record_id": record_id,
        "position": position,
        "created_at": change.at,
    }


class Fields(Protocol):
    """A record's columns by name: a light row, or a mapping."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Who is asking about a record, and what they may do in its scope."""

    viewer: Viewer
    may: Callable[[Permission], bool]


def may_update(asking: Standing, record: Fields) -> bool:
    """Return whether they may change the record in the state that it is in."""
    if asking.may(Permission.RECORD_UPDATE):
        return True
    in_hand = record["status"] in UNDER_WAY and is_own_record(asking.viewer, record)
    return in_hand and asking.may(Permission.RECORD_UPDATE_OWN)


def may_submit(asking: Standing, record: Fields) -> bool:
    """Return whether they may hand the record over for review."""
    mine = is_own_record(asking.viewer, record) or asking.may(Permission.RECORD_UPDATE)
    return mine and record["status"] in UNDER_WAY and asking.may(Permission.RECORD_SUBMIT)


def may_review(asking: Standing, record: Fields) -> bool:
    """Return whether they may vouch for the record: it is under review, and they had no hand in it."""
    return (
        record["status"] == RecordStatus.SUBMITTED
        and not had_a_hand_in(asking.viewer, record)
        and asking.may(Permission.RECORD_REVIEW)
    )


def may_delete(asking: Standing) -> bool:
    """Return whether they may delete a record there."""
    return asking.may(Permission.RECORD_DELETE)


def is_own_record(viewer: Viewer, record: Fields) -> bool:
    """Return whether the viewer made the record. What a service account made is nobody's own."""
    return viewer.membership_id is not None and bool(record["created_by_id"] == viewer.membership_id)


def had_a_hand_in(viewer: Viewer, record: Fields) -> bool:
    """Return whether the viewer made, changed or submitted the record."""
    return not viewer.hands.isdisjoint({record["created_by_id"], *record["contributor_ids"]})


def fields_of(record: Record) -> Fields:
    """Return what the questions above ask of a record, as a light row has it."""
    return {name: getattr(record, name) for name in JUDGED}


def note_contributor(change: Change, record: Record) -> None:
    """Remember that the viewer had a hand in the record: they will not be the one who vouches for it."""
    new = change.viewer.hands.difference(record.contributor_ids)
    if new:
        record.contributor_ids = [*record.contributor_ids, *sorted(new)]


async def _write_measurements(change: Change, record_id: UUID, project_id: UUID, new: Sequence[NewMeasurement]) -> None:
    if new:
        rows = [measurement_values(change, record_id, project_id, new_id(), i, one) for i, one in enumerate(new)]
        await change.insert(Measurement, rows)


def _own_device(change: Change, off: Sequence[str]) -> UUID | None:
    """Return the session's own device, on which a record is made where none is named; None where none is kept."""
    return None if RecordField.DEVICE in off else change.viewer.device_id


def _project(project_id: UUID, *, at: Path) -> Wanted:
    return Wanted(Project, project_id, PROJECT_COLUMNS, at)


def _device(device_id: UUID | None) -> list[Wanted]:
    """Return the device that a record is said to be made on; nothing where none was named: the session's own counts."""
    return [Wanted(Device, device_id, ("status",), AT_DEVICE)] if device_id is not None else []


def _require_good_device(held: Held, device: Sequence[Wanted]) -> None:
    if any(held.found(one)["status"] == DeviceStatus.BLOCKED for one in device):
        raise ConflictError("The device is blocked.", field=AT_DEVICE)


def _require_may_update(change: Change, record: Record) -> None:
    viewer, scope = change.viewer, scope_of_model(change, record)
    if may_update(Standing(viewer, lambda permission: can(viewer, permission, scope)), fields_of(record)):
        return
    require(viewer, Permission.RECORD_UPDATE_OWN, scope)
    if not is_own_record(viewer, fields_of(record)):
        raise ForbiddenError("Only your own records.", permission=Permission.RECORD_UPDATE)
    raise ForbiddenError("The record is under review or approved.", permission=Permission.RECORD_UPDATE)


def _require_writable(change: Change, scope: Scope, values: Mapping[str, Any], *, is_new: bool = False) -> None:
    require_writable(change, entity_of(Record), scope, values, at=("input",), is_new=is_new)
    if (collected_at := values.get("collected_at")) is not None:
        require_time(collected_at, now=change.at, at=("input", "collectedAt"))


def _require_measurements_writable(change: Change, scope: Scope, measurements: Sequence[NewMeasurement]) -> None:
    require_some(measurements, at=("input", "measurements"), most=MOST_MEASUREMENTS)
    for index, one in enumerate(measurements):
        at: Path = ("input", "measurements", index)
        require_writable(change, entity_of(Measurement), scope, one.values, at=at, is_new=True)


async def _require_replaceable(change: Change, scope: Scope, record_id: UUID) -> None:
    """Raise `ForbiddenError` where measurements of the record have values that the viewer may not read.

    All of them go where others are put in their place.
    """
    held, entity = permissions_in(change.viewer, scope), entity_of(Measurement)
    unseen = {one.name: one.guard for one in entity.columns.values() if one.guard is not None and one.guard not in held}
    if not unseen:
        return
    given = ", ".join(f'coalesce(bool_or("{name}" is not null), false) as "{name}"' for name in unseen)
    (found,) = await fetch(
        change.connection,
        f'select {given} from "{entity.name}" where organization_id = $1 and record_id = $2',
        change.organization_id,
        record_id,
    )
    for name, guard in unseen.items():
        if found[name]:
            require(change.viewer, guard, scope, field=("input", "measurements"))


def _require_measurements_switched_on(off: Sequence[str], measurements: Sequence[NewMeasurement]) -> None:
    for index, one in enumerate(measurements if off else ()):
        require_switched_on(entity_of(Measurement), off, one.values, at=("input", "measurements", index))
