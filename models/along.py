"""What is read along with rows, in the same statement: the rows that they name, and the rows that name them.

A row that is named lies beside its row, in columns of their own; rows that name a row come as lists, one for each
column, in their order. Each is visible to the viewer, or is not there.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from auth.principal import Viewer
from models.inventory import Entity
from models.order import Order, order_by
from models.statement import Statement
from models.visibility import visible
from models.withholding import selected


@dataclass(frozen=True, slots=True)
class Named:
    """The row of `entity` that a row names in its column `by`."""

    by: str
    entity: Entity
    columns: tuple[str, ...]

    def name(self, column: str) -> str:
        """Return under which name a column of it stands in the row. All are null where it is not visible."""
        return f"{self.by}.{column}"


@dataclass(frozen=True, slots=True)
class Naming:
    """The rows of `entity` that name a row in their column `by`: `limit` at the most, in this order."""

    by: str
    entity: Entity
    columns: tuple[str, ...]
    order: Order
    limit: int

    def name(self, column: str) -> str:
        """Return under which name the list of a column's values stands in the row. Null where there are none."""
        return f"{self.entity.name}.{self.by}.{column}"


@dataclass(frozen=True, slots=True)
class Along:
    """All that is read along."""

    named: tuple[Named, ...] = ()
    naming: tuple[Naming, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.named or self.naming)


NOTHING_ALONG: Final = Along()


@dataclass(frozen=True, slots=True)
class Selected:
    """What is read of each row: columns of its own, and what is read along."""

    columns: tuple[str, ...]
    along: Along = NOTHING_ALONG


def read_along(statement: Statement, viewer: Viewer, text: str, along: Along) -> str:
    """Return the statement whose rows are those of `text`, in any order, with what is read along."""
    shown, joins = ["t.*"], []
    for number, named in enumerate(along.named):
        alias, columns = f"o{number}", _columns(named.entity, named.columns)
        shown += [f'{alias}."{column}" as "{named.name(column)}"' for column in columns]
        where = visible(statement, named.entity, viewer, alias="n")
        # With its limit it is looked up for each row, and never found by reading all of the table.
        joins.append(
            f'left join lateral (select {_list(named.entity, "n", columns)} from "{named.entity.name}" n'
            f' where n.id = t."{named.by}" and {where} limit 1) {alias} on true'
        )
    for number, naming in enumerate(along.naming):
        alias, columns = f"m{number}", _columns(naming.entity, naming.columns)
        shown += [f'{alias}."{column}" as "{naming.name(column)}"' for column in columns]
        own = _list(naming.entity, "c", columns)
        lists = ", ".join(f'array_agg(c."{column}") as "{column}"' for column in columns)
        where = visible(statement, naming.entity, viewer, alias="c")
        joins.append(
            f'left join lateral (select {lists} from (select {own} from "{naming.entity.name}" c'
            f' where {where} and c."{naming.by}" = t.id'
            f" {order_by(naming.entity, naming.order, 'c')} limit {statement.argument(naming.limit)}) c"
            f") {alias} on true"
        )
    return f"select {', '.join(shown)} from ({text}) t {' '.join(joins)}"


@lru_cache(maxsize=1024)
def _columns(entity: Entity, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that are read: with what a row's scope is made of, and its tenant where that opens a value."""
    names = list(dict.fromkeys((*entity.scope_columns, *wanted)))
    if entity.placement is not None and not any(entity.columns[name].is_sealed for name in wanted):
        needless = {entity.placement.tenant_column} - {"id", *wanted}
        names = [name for name in names if name not in needless]
    return tuple(names)


@lru_cache(maxsize=1024)
def _list(entity: Entity, alias: str, columns: tuple[str, ...]) -> str:
    return ", ".join(selected(entity, alias, column) for column in columns)
