"""The committed page `docs/access.md`, read as anybody reads it: what the sweep expects comes from here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "access.md"
OWN = "own"
NOTHING = "·"
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class FieldRow:
    """What the page says of a field. `roles` maps each role to its letters; `takes` is empty where nothing is named."""

    type_name: str
    field: str
    takes: str
    roles: Mapping[str, frozenset[str]]
    written_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DoorRow:
    """What the page says of an entry or a mutation: any of the permissions, and the roles that have one."""

    name: str
    takes: tuple[str, ...]
    is_open: bool
    roles: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The whole page."""

    fields: Mapping[str, Mapping[str, FieldRow]]
    entries: Mapping[str, DoorRow]
    mutations: Mapping[str, DoorRow]
    structures: Mapping[str, frozenset[str]]

    def read_of(self, type_name: str) -> str:
        """Return the permission that shows a row of the type: the plain reading of the noun that guards its fields."""
        takes = next(row.takes for row in self.fields[type_name].values() if row.takes)
        return f"{takes.partition(':')[0]}:read"

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the order of the columns."""
        return tuple(next(iter(self.fields["Record"].values())).roles)


def read_page() -> Page:
    """Return what the page says."""
    fields: dict[str, dict[str, FieldRow]] = {}
    doors: dict[str, dict[str, DoorRow]] = {"Entries": {}, "Mutations": {}}
    structures: dict[str, frozenset[str]] = {}
    for title, head, cells in _rows(PAGE.read_text()):
        if title == "Structures":
            structures[cells[0]] = frozenset(_CODE.findall(cells[1]))
            continue
        name, takes = _CODE.findall(cells[0])[0], tuple(_CODE.findall(cells[1]))
        roles = dict(zip(head[2:], cells[2:], strict=True))
        if title in doors:
            having = frozenset(role for role, cell in roles.items() if cell == "yes")
            doors[title][name] = DoorRow(name, takes, cells[1] == "nothing", having)
            continue
        written_by = tuple(_CODE.findall(roles.pop("Written by")))
        letters = {role: frozenset("" if cell == NOTHING else cell) for role, cell in roles.items()}
        fields.setdefault(title, {})[name] = FieldRow(title, name, "".join(takes), letters, written_by)
    return Page(fields, doors["Entries"], doors["Mutations"], structures)


def _rows(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each table's rows: the title above it, the cells of its head, and the row's."""
    title, head = "", list[str]()
    for line in text.splitlines():
        if line.startswith("## "):
            title, head = line.removeprefix("## ").strip(), []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not head:
                head = cells
            elif set(cells[0]) - set("- :"):
                yield title, head, cells
