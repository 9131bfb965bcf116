"""Rows as a viewer may read them, for what leaves without a query: exports.

The same as a query shows: a column that may not be read in a row's scope is null there, or its pseudonym; one that may
be read nowhere is not selected. What is opened is noted, and so is what does not open.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from auth.masking import pseudonym
from auth.permission import Permission
from auth.policy import can, has_everywhere
from auth.principal import Viewer
from auth.scope import Scope
from models.encryption.envelope import key_bytes_of
from models.encryption.keyring import active_keyring
from models.errors import TamperedError
from models.inventory import Column, Entity
from models.row import ColumnOpener, Row
from models.visibility import scope_of
from resolvers.read_log import ReadLog

LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {"record": frozenset({"contributor_ids"})}
"""Columns that no query shows although the API may, by table. The organization's id is known to who asks."""

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns of a table are shown to a viewer.

    shown: in their order. masked: those of them of which a pseudonym may stand in the value's place.
    hidden: those that may be read nowhere, with what that would take.
    """

    entity: Entity
    shown: tuple[Column, ...]
    hidden: Mapping[str, Permission]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is shown."""
        return tuple(one.name for one in self.shown)

    @property
    def selected(self) -> tuple[str, ...]:
        """The columns that are read for that."""
        masks = (one.masked_by for one in self.shown if one.masked_by is not None)
        return tuple(dict.fromkeys((*self.names, *masks)))


def choose(entity: Entity, viewer: Viewer, *, with_all: bool = False) -> Choice:
    """Return which columns of the table the viewer is shown.

    with_all: also those that no query shows although it might: for what is to be put in again elsewhere.
    """
    shown: list[Column] = []
    hidden: dict[str, Permission] = {}
    for column in entity.columns.values():
        if not column.is_in_api or column.name == "organization_id":
            continue
        if not with_all and column.name in LEFT_OUT.get(entity.name, ()):
            continue
        if column.names is not None and not has_everywhere(viewer, {column.names}):
            # Who they are is told by links alone, to those who see them; of an id there is no part.
            hidden[column.name] = column.names
        elif column.guard is not None and column.guard not in viewer.access.reach and column.masked_by is None:
            hidden[column.name] = column.guard
        else:
            shown.append(column)
    return Choice(entity, tuple(shown), hidden)


async def show(choice: Choice, viewer: Viewer, rows: Sequence[Row], log: ReadLog) -> list[Shown]:
    """Return the rows' columns as the viewer may read them, and note in the log what was opened.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    if not rows:
        return []
    # Turned at once: looking up each value by its name takes several times as long.
    columns = dict(zip(rows[0].keys(), map(list, zip(*rows, strict=True)), strict=True))
    scopes = _scopes(choice.entity, viewer, rows)
    everywhere = range(len(rows))
    readable: dict[Permission | None, Sequence[int]] = {None: everywhere}
    taken: list[Sequence[Any]] = []
    for column in choice.shown:
        guard = column.guard
        if guard not in readable:
            readable[guard] = _readable(guard, viewer, scopes)
        places = readable[guard]
        if column.is_sealed:
            values = await _opened(column, choice.entity, columns, places, log)
        elif len(places) == len(rows):
            values = columns[column.name]
        else:
            held = columns[column.name]
            values = [None] * len(rows)
            for place in places:
                values[place] = held[place]
        if column.masked_by is not None and len(places) < len(rows):
            masked, may = columns[column.masked_by], set(places)
            for place in everywhere:
                if place not in may:
                    values[place] = pseudonym(masked[place])
        taken.append(values)
    names = choice.names
    return [dict(zip(names, values, strict=True)) for values in zip(*taken, strict=True)]


def rights_used(choice: Choice, viewer: Viewer, rows: Sequence[Row]) -> set[tuple[UUID | None, Permission]]:
    """Return the permissions by which the rows' values are shown, each with the project that it is used in."""
    guards = {column.guard for column in choice.shown if column.guard is not None} | {choice.entity.read}
    named = {column.names for column in choice.shown if column.names is not None}
    used: set[tuple[UUID | None, Permission]] = {(None, permission) for permission in named}
    for scope in set(_scopes(choice.entity, viewer, rows)):
        used |= {(scope.project_id, guard) for guard in guards if can(viewer, guard, Scope(scope.project_id))}
    return used


def places_used(choice: Choice, rows: Sequence[Row]) -> set[tuple[UUID | None, Permission]]:
    """Return what it takes to read the exact places that the rows show in plain, once they are sensitive."""
    guard = choice.entity.columns["exact_location"].guard if "exact_location" in choice.entity.columns else None
    if guard is None:
        return set()
    exact = (row for row in rows if not row["location_is_coarse"] and row["latitude"] is not None)
    return {(project_id, guard) for project_id in {row["project_id"] for row in exact}}


def _scopes(entity: Entity, viewer: Viewer, rows: Sequence[Row]) -> Sequence[Scope]:
    """Return the scope of each row; rows of one scope share the object."""
    placement = entity.placement
    if placement is None or not (placement.project_column or placement.own_column):
        return [scope_of(entity, rows[0], viewer)] * len(rows) if rows else []
    named = [name for name in (placement.project_column, placement.own_column) if name]
    known: dict[Any, Scope] = {}
    scopes = []
    for row in rows:
        key = row[named[0]] if len(named) == 1 else (row[named[0]], row[named[1]])
        scope = known.get(key)
        if scope is None:
            scope = known[key] = scope_of(entity, row, viewer)
        scopes.append(scope)
    return scopes


def _readable(guard: Permission | None, viewer: Viewer, scopes: Sequence[Scope]) -> Sequence[int]:
    """Return the places of the rows of which the viewer may read what the guard guards."""
    if guard is None:
        return range(len(scopes))
    verdicts = {id(scope): can(viewer, guard, scope) for scope in {id(scope): scope for scope in scopes}.values()}
    if all(verdicts.values()):
        return range(len(scopes))
    return [place for place, scope in enumerate(scopes) if verdicts[id(scope)]]


async def _opened(
    column: Column, entity: Entity, columns: Mapping[str, list[Any]], places: Sequence[int], log: ReadLog
) -> list[Any]:
    """Return the opened values at the places, None elsewhere, and where a value's key was destroyed."""
    blobs, ids = columns[column.name], columns["id"]
    filled = [place for place in places if blobs[place] is not None]
    if not filled:
        return [None] * len(blobs)
    await active_keyring().load_ids(_key_ids(blobs[place] for place in filled))
    opened = ColumnOpener(column, entity).open_all(columns.__getitem__, filled)
    if column.is_logged:
        log.note_all(column, [ids[place] for place in filled if opened.values[place] is not None])
    for place in sorted({place for place, _ in opened.broken} | set(opened.sealed)):
        log.note_broken(column, ids[place])
    return list(opened.values)


def _key_ids(blobs: Iterable[bytes]) -> set[UUID]:
    named = set()
    for blob in blobs:
        # What is no sealed value is found broken when it is opened.
        with suppress(TamperedError):
            named.add(key_bytes_of(blob))
    return {UUID(bytes=one) for one in named}
