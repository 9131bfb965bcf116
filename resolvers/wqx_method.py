"""Methods in their parts, as the row of a file says them: whose they are, what they are called there, and their name.

An import keeps a method in one line (`resolvers/wqx_value.py: method`), which does not say where its parts end, nor
whether it ever had any: `Grab sample` is no method `sample` of somebody called `Grab`. The row that a result was read
from says both, to whoever may read it. So parts come from there alone, and belong to the very line that they make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from resolvers.wqx_layout import LEGACY, WQX3
from resolvers.wqx_table import Column
from resolvers.wqx_value import method

_PARTS: Final = {
    Column.SAMPLING_METHOD: (
        Column.SAMPLING_METHOD_CONTEXT,
        Column.SAMPLING_METHOD,
        Column.SAMPLING_METHOD_NAME,
    ),
    Column.ANALYTICAL_METHOD: (
        Column.ANALYTICAL_METHOD_CONTEXT,
        Column.ANALYTICAL_METHOD,
        Column.ANALYTICAL_METHOD_NAME,
    ),
}


@dataclass(frozen=True, slots=True)
class MethodParts:
    """A method: the context of its identifier, as `APHA`, the identifier, as `2510`, and its name, if it has one."""

    context: str
    identifier: str
    name: str


def methods_in(source_row: str | None) -> Mapping[tuple[Column, str], MethodParts]:
    """Return the methods that a row says in parts, by the kind of method and the line that an import keeps of it.

    source_row: the row as it is stored; None where there is none, or it may not be read. kind: `SAMPLING_METHOD` or
    `ANALYTICAL_METHOD`. A method without an identifier or its context is not among them.
    """
    cells = _cells(source_row)
    found: dict[tuple[Column, str], MethodParts] = {}
    for layout in (LEGACY, WQX3) if cells else ():
        for kind, columns in _PARTS.items():
            context, identifier, name = (_text(cells.get(layout.names[column])) for column in columns)
            line = method(context, identifier, name)
            if line and context and identifier:
                found[kind, line] = MethodParts(context, identifier, name)
    return found


def _cells(source_row: str | None) -> Mapping[str, Any]:
    try:
        cells = orjson.loads(source_row or "{}")
    except orjson.JSONDecodeError:
        return {}
    return cells if isinstance(cells, dict) else {}


def _text(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else ""
