"""What a statement has in the place of a column: its value, or null in the rows of which it is withheld.

Whatever reads, filters or computes on behalf of a viewer goes through here. Texts are worked out once: a column of
which nothing is withheld costs a statement nothing.
"""

from functools import lru_cache

from models.inventory import Column, Entity


@lru_cache(maxsize=4096)
def value_of(column: Column, alias: str) -> str:
    """Return the SQL expression of what is shown of the column in a row."""
    value = f'{alias}."{column.name}"'
    if column.withheld is None:
        return value
    return f"case when {column.withheld.format(row=alias)} then null else {value} end"


def selected(entity: Entity, alias: str, name: str) -> str:
    """Return the column as it is selected, under its own name.

    Raises:
        KeyError: the table has no column of that name.
    """
    column = entity.columns[name]
    value = value_of(column, alias)
    return value if column.withheld is None else f'{value} as "{name}"'


@lru_cache(maxsize=4096)
def compared(column: Column, alias: str) -> tuple[str, str]:
    """Return what is compared of a column, and what stands after its comparison.

    The column itself is compared, so that the database still knows how its values are spread; a row of which it is
    withheld is not found by it.
    """
    value = f'{alias}."{column.name}"'
    return (value, "") if column.withheld is None else (value, f" and not {column.withheld.format(row=alias)}")
