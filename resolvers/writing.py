"""What may be written, column by column: asked before any value of an input reaches a row.

Whoever writes a guarded column also reads it there: nobody overwrites what they can't see, and nobody tries values
against what stands for one they may not read. An input with a field that may not be written is refused as a whole.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from auth.policy import permissions_in, require
from auth.principal import Viewer
from auth.scope import Scope
from models.inventory import Entity
from resolvers.change import Change
from resolvers.checking import Path, input_name, require_fit


def require_writable(
    change: Change,
    entity: Entity,
    scope: Scope,
    values: Mapping[str, Any],
    *,
    at: Path,
    is_new: bool = False,
) -> None:
    """Raise unless the viewer may write each of the columns in the scope, and every value fits its column.

    values: by column name. at: the path of the input object. is_new: the row is being made, so that None is nothing
    written.

    Raises:
        ForbiddenError: naming the input's path, the permission and the scope.
        InvalidInputError: naming the input's path.
    """
    written = [name for name, value in values.items() if not (is_new and value is None)]
    require_guards(change.viewer, entity, scope, written, at=at)
    require_fit(entity, values, at=at)


def require_guards(viewer: Viewer, entity: Entity, scope: Scope, written: Iterable[str], *, at: Path) -> None:
    """Raise `ForbiddenError` unless the viewer may read each of the columns that are to be written."""
    held = permissions_in(viewer, scope)
    for name in written:
        guard = entity.columns[name].guard
        if guard is not None and guard not in held:
            require(viewer, guard, scope, field=(*at, input_name(name)))
