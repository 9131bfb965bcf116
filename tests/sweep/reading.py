"""What is asked of a type, and what the page says that somebody must be answered, compared field by field."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from tests.support.served import Reply
from tests.sweep.contract import Contract, is_connection, is_plain_list, row_type, takes_arguments
from tests.sweep.facts import ASKER, GROWING, MOVING, NEVER_SHOWN, PUBLIC, TABLES, Facts, Row, name_of, named_by
from tests.sweep.page import FieldRow
from tests.sweep.principal import Names, Principal

PAGE_OF: Final = 100
"""Rows asked for of a list below another row: more than there are."""
BELOW: Final = 2
"""Rows of a list further below: there, a few are as good as all, and cost what a few cost."""
CAN: Final = "viewerCan"
TOLD: Final = "changes"
"""The field of a version that says what became of which columns."""
ELSEWHERE: Final = {("RecordVersion", "reason"): "audit:read"}
"""Fields that show a value of another row, and what seeing that row takes in the organization."""
NAMING: Final = {("Export", "manifest"): "membership:read_personal"}
"""Fields that name their author to them, and to who has this in the organization; to others, by the id alone."""
FOUND: Final = frozenset({("Record", "site")})
"""Links to what is found by the row's own code, and not by an id: who may not see what is found is shown none, as of a
list.
"""
HISTORY: Final = "history"
VERSIONS: Final = 5
"""Versions asked for of each record: each with its changes, more would be more than an operation may ask for."""
WHO: Final = {
    **dict.fromkeys(("created_by_id", "reviewed_by_id", "contributor_ids"), "membership:read"),
    "device_id": "device:read",
}
"""Columns that name people and their devices: in a history, told to who sees all of those."""
Path = tuple[str | int, ...]


@cache
def selection(contract: Contract, type_name: str, depth: int, *, first: int = PAGE_OF) -> str:
    """Return the selection of everything that the type shows, and of what it leads to, so many steps deep."""
    parts = list(contract.selected(type_name))
    if type_name == "Change":
        return " ".join([*parts, "columns { column before after }"])
    if type_name == "RecordVersion":
        parts.append(f"{TOLD} {{ operation entity entityId columns {{ column before after }} }}")
    for name, one in contract.branches(type_name).items() if depth else ():
        assert not takes_arguments(one), f"{type_name}.{name} takes an argument: say which"
        if (type_name, name) == ("RecordVersion", TOLD):
            continue
        if name == CAN:
            parts.append(f"{CAN} {{ readableFields }}")
            continue
        inner = selection(contract, row_type(one), depth - 1, first=BELOW)
        parts.append(_list(name, inner, first) if is_connection(one) else f"{name} {{ {inner} }}")
    return " ".join(parts)


@cache
def asked(contract: Contract, type_name: str, depth: int) -> frozenset[str]:
    """Return the fields that such a selection asks for."""
    found = set()
    for name, one in contract.type(type_name).fields.items():
        if name in contract.leaves(type_name) or type_name == "Change" or depth:
            found.add(f"{type_name}.{name}")
        if (type_name, name) == ("RecordVersion", TOLD):
            continue
        if name not in contract.leaves(type_name) and type_name != "Change" and depth:
            found |= asked(contract, row_type(one), depth - 1) if name != CAN else set()
    return frozenset(found)


def _list(name: str, inner: str, first: int) -> str:
    named = named_by("RecordVersion") if name == HISTORY else "id"
    given = f"first: {min(first, VERSIONS)}, direction: ASC" if name == HISTORY else f"first: {first}"
    return f"{name}({given}) {{ totalCount nodes {{ {inner} }} edges {{ node {{ {named} }} }} }}"


@dataclass
class Comparison:
    """One answer held against the page: what differs is in `findings`, what had to be denied in `denied`.

    later: where rows are shown that came after the facts were loaded, of which nothing is known.
    """

    facts: Facts
    who: Principal
    root: str
    findings: list[str] = field(default_factory=list)
    denied: dict[tuple[str, str], dict[Path, tuple[str, str]]] = field(default_factory=dict)
    later: list[Path] = field(default_factory=list)
    """By type and field: by path, the permission and the scope that must be named."""

    def row(self, type_name: str, row: Row, shown: Any, depth: int, at: Path, *, first: int = PAGE_OF) -> None:
        """Compare an object with its row."""
        if not isinstance(shown, dict):
            self._differs(type_name, "", at, "the row", shown)
            return
        contract, fields = self.facts.contract, self.facts.page.fields[type_name]
        for name in contract.type(type_name).fields.keys() - fields.keys():
            self._differs(type_name, name, at, "a row on the page", "none")
        for name in [one for one in contract.leaves(type_name) if one in fields]:
            self._leaf(fields[name], row, shown[name], (*at, name))
        if type_name == "Change":
            self._columns(row, shown["columns"], (*at, "columns"))
            return
        if type_name == "RecordVersion":
            self._told(row, shown[TOLD], (*at, TOLD))
        for name, one in contract.branches(type_name).items() if depth else ():
            if (type_name, name) == ("RecordVersion", TOLD):
                continue
            if name == CAN:
                self._can(fields, row, shown[name]["readableFields"], (*at, name))
            elif is_connection(one) or is_plain_list(one):
                limit = first if is_connection(one) else None
                limit = min(first, VERSIONS) if name == HISTORY else limit
                self._many(fields[name], row, shown[name], row_type(one), depth - 1, (*at, name), limit)
            else:
                self._one(fields[name], row, shown[name], row_type(one), depth - 1, (*at, name))

    def rows(
        self,
        type_name: str,
        rows: Sequence[Row],
        shown: Any,
        depth: int,
        at: Path,
        limit: int | None,
        *,
        first: int = BELOW,
    ) -> None:
        """Compare a list with its rows: all of them counted, in their order, and as many as were asked for."""
        if not isinstance(shown, dict | list):
            self._differs(type_name, "", at, f"{len(rows)} rows", shown)
            return
        nodes, wanted, named = shown, list(rows), named_by(type_name)
        if isinstance(shown, dict):
            nodes, at = shown["nodes"], (*at, "nodes")
            if shown["totalCount"] != len(rows):
                self._differs(type_name, "totalCount", at, len(rows), shown["totalCount"])
            if [edge["node"][named] for edge in shown["edges"]] != [node[named] for node in nodes]:
                self._differs(type_name, "edges", at, "the nodes' ids", shown["edges"])
            wanted = wanted[:limit]
        if type_name != "Change":
            got, expected = [node[named] for node in nodes], [name_of(type_name, row) for row in wanted]
            if got != expected:
                self._differs(type_name, "id", at, expected, got)
                return
        elif len(nodes) != len(wanted):
            self._differs(type_name, "", at, len(wanted), len(nodes))
            return
        for index, (row, node) in enumerate(zip(wanted, nodes, strict=True)):
            self.row(type_name, row, node, depth, (*at, index), first=first)

    def errors(self, reply: Reply) -> None:
        """Compare the errors: one for each denied field of the operation, which names what was missing, and where."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        by_path = {path: key for key, paths in self.denied.items() for path in paths}
        for error in reply.errors:
            path = tuple(error.get("path") or ())
            key = by_path.get(path)
            if key is None and any(path[: len(one)] == one for one in self.later):
                continue
            if key is None:
                self.findings.append(f"{self.who} {self.root}: expected no error, got {error}")
            else:
                found.setdefault(key, []).append(error)
        for key, paths in self.denied.items():
            errors = found.get(key, [])
            if len(errors) != 1:
                self._differs(*key, (self.root,), "exactly one FORBIDDEN", f"{len(errors)} errors")
                continue
            told = errors[0]["extensions"]
            permission, scope = paths[tuple(errors[0]["path"])]
            wanted = {"code": "FORBIDDEN", "permission": permission, "scope": scope}
            if {name: told.get(name) for name in wanted} != wanted:
                self._differs(*key, (self.root,), wanted, told)

    def _leaf(self, said: FieldRow, row: Row, shown: Any, at: Path) -> None:
        letters = self.facts.letters(self.who, said, row)
        value, place = self.facts.values[said.type_name][row["id"]][said.field], (said.type_name, said.field)
        if "r" in letters and place in ASKER:
            value = ASKER[place](self.who, row)
        if "r" in letters and place in MOVING:
            if (shown or "") < (value or ""):
                self._differs(*place, at, f"{value} or later", shown)
        elif "r" in letters:
            # What lies in another row is there for who sees that one.
            value = value if ELSEWHERE.get(place) in {None, *self.who.held(None)} else None
            _, is_own = self.facts.place(said.type_name, row, self.who)
            if value is not None and not is_own and NAMING.get(place) not in {None, *self.who.held(None)}:
                named = json.loads(value)
                value, shown = {**named, "author": {**named["author"], "name": None}}, json.loads(shown or "null")
            if shown != value:
                self._differs(*place, at, value, shown)
        elif "m" in letters:
            masked = isinstance(shown, str) and shown.startswith("person-") and shown != value
            if not (shown is None if value is None else masked):
                self._differs(*place, at, "a pseudonym", shown)
        else:
            self._deny(said, said.takes, row, shown, at)

    def _one(self, said: FieldRow, row: Row, shown: Any, target: str, depth: int, at: Path) -> None:
        is_found = (said.type_name, said.field) in FOUND
        if not is_found and "r" not in self.facts.letters(self.who, said, row):
            self._deny(said, said.takes, row, shown, at)
            return
        target_id = self.facts.linked(said.type_name, said.field, row)
        linked = self.facts.rows[target].get(target_id)
        if linked is None and target_id is not None and target in GROWING:
            # An incident of the sweep's own: it is about what was asked after the facts end.
            self.later.append(at)
            when = shown.get(GROWING[target][0]) if isinstance(shown, dict) else None
            if when is not None and datetime.fromisoformat(when) < self.facts.trail_until:
                self._differs(said.type_name, said.field, at, "nothing of before the facts end", shown)
            return
        if linked is not None and self.facts.sees(self.who, target, linked):
            self.row(target, linked, shown, depth, at, first=BELOW)
        elif shown is not None:
            self._differs(said.type_name, said.field, at, None, shown)

    def _can(self, fields: Mapping[str, FieldRow], row: Row, readable: list[str], at: Path) -> None:
        """Compare what the object says of its fields with what the page says: of all that show a value of its own."""
        for name, said in fields.items():
            leaves = self.facts.contract.leaves(said.type_name)
            if name in leaves and (name in readable) != ("r" in self.facts.letters(self.who, said, row)):
                self._differs(said.type_name, name, at, "readable as the page says", name in readable)

    def _many(self, said: FieldRow, row: Row, shown: Any, target: str, depth: int, at: Path, limit: int | None) -> None:
        # Who may not read them is shown none: the list is there, and empty.
        children = self.facts.children(self.who, said.type_name, said.field, row)
        self.rows(target, children, shown, depth, at, limit)

    def _columns(self, row: Row, shown: Any, at: Path) -> None:
        """Compare what a change did to each column: guarded as the field that shows the column is."""
        for index, (column, value) in enumerate(
            zip(shown, self.facts.values["Change"][row["id"]]["columns"], strict=True)
        ):
            takes, letters = self._guard_of_column(row, column["column"])
            for side in ("before", "after"):
                place = (*at, index, side)
                if column["column"] in NEVER_SHOWN:
                    if column[side] is not None:
                        self._differs("ColumnChange", side, place, None, column[side])
                elif "r" in letters:
                    if column[side] != value[side]:
                        self._differs("ColumnChange", column["column"], place, value[side], column[side])
                else:
                    self._denied_value("ColumnChange", side, takes, self._scope_of_change(row), column[side], place)

    def _told(self, row: Row, shown: Any, at: Path) -> None:
        """Compare what a version says of each row that it changed: all columns that may be read, and no other."""
        changes = [self.facts.rows["Change"][one] for one in row["changes"]]
        wanted = [
            {
                "operation": change["operation"],
                "entity": change["entity"],
                "entityId": str(change["entity_id"]),
                "columns": [
                    one
                    for one in self.facts.values["Change"][change["id"]]["columns"]
                    if one["column"] not in NEVER_SHOWN
                    and "r" in self._guard_of_column(change, one["column"])[1]
                    and WHO.get(one["column"], "record:read") in {"record:read", *self.who.held(None)}
                ],
            }
            for change in changes
        ]
        if shown != wanted:
            self._differs("RecordVersion", TOLD, at, wanted, shown)

    def _guard_of_column(self, row: Row, column: str) -> tuple[str, Names]:
        """Return what the page says of the field that shows the column, in the scope of the row that was changed."""
        type_name = next((name for name, table in TABLES.items() if table.name == row["entity"]), "User")
        fields = self.facts.page.fields[type_name]
        field_name = _field_of(column, fields)
        if column in PUBLIC:
            return "", frozenset("r")
        own = row["membership_id"] is not None and self.who.scope is None and row["membership_id"] == self.who.member_id
        project: UUID | None = row["project_id"]
        if field_name is None:
            takes = self.facts.page.read_of(type_name)
            return takes, frozenset("r") if takes in self.who.held(project, own=own) else frozenset()
        said = fields[field_name]
        if not said.takes:
            return "", frozenset("r")
        return said.takes, self.who.letters(self.facts.page, said, project, own=own) & frozenset("r")

    def _scope_of_change(self, row: Row) -> str:
        return f"Project:{row['project_id']}" if row["project_id"] else "ORGANIZATION"

    def _deny(self, said: FieldRow, takes: str, row: Row, shown: Any, at: Path) -> None:
        project, _ = self.facts.place(said.type_name, row, self.who)
        scope = f"Project:{project}" if project else "ORGANIZATION"
        self._denied_value(said.type_name, said.field, takes, scope, shown, at)

    def _denied_value(self, type_name: str, name: str, takes: str, scope: str, shown: Any, at: Path) -> None:
        if shown is not None:
            self._differs(type_name, name, at, f"null, without {takes}", shown)
        self.denied.setdefault((type_name, name), {})[at] = (takes, scope)

    def _differs(self, type_name: str, name: str, at: Path, expected: Any, got: Any) -> None:
        where = ".".join(map(str, at))
        self.findings.append(f"{self.who} {type_name}.{name} at {where}: expected {expected!r}, got {got!r}"[:400])


def _field_of(column: str, fields: Mapping[str, FieldRow]) -> str | None:
    """Return the field that shows a column, as the page names it; None where none does."""
    return next((name for name in _camel(column) if name in fields), None)


def _camel(column: str) -> Iterator[str]:
    for name in (column, column.removesuffix("_id"), {"membership_id": "user"}.get(column, column)):
        first, *rest = name.split("_")
        yield first + "".join(map(str.title, rest))


def sample(facts: Facts, who: Principal, type_name: str) -> list[Row]:
    """Return rows to ask for by their ids: some that are shown, some that are not, of each project and tenant."""
    chosen: dict[tuple[Any, ...], Row] = {}
    for row in facts.rows[type_name].values():
        table = TABLES[type_name]
        own = bool(table.own and row[table.own] == who.member_id)
        chosen[row[table.tenant], row[table.project] if table.project else None, own] = row
    return list(chosen.values())
