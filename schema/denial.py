"""Fields that were denied: one error for each field of a type, at the first place of the answer where it is null.

The place is told by the answer itself and not by who was faster, so that the same operation is always answered the
same.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from graphql import FieldNode, GraphQLError

from auth.errors import ForbiddenError
from auth.permission import Permission
from auth.scope import Scope

Place = tuple[str, ...]
Indices = tuple[int, ...]


class Denial(NamedTuple):
    """A field of a type that was denied, and where in the answer."""

    type_name: str
    field_name: str
    permission: Permission
    scope: Scope
    path: list[str | int]
    nodes: Sequence[FieldNode]


class Denials:
    """The denials of an operation: of each field and each place in the selection, the first by the lists' order."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], dict[Place, tuple[Indices, Denial]]] = {}

    def note(self, denial: Denial) -> None:
        """Remember it, if it comes before what is known of its place."""
        place = tuple(part for part in denial.path if isinstance(part, str))
        indices = tuple(part for part in denial.path if isinstance(part, int))
        places = self._found.setdefault((denial.type_name, denial.field_name), {})
        known = places.get(place)
        if known is None or indices < known[0]:
            places[place] = (indices, denial)

    def errors(self, data: Any) -> list[GraphQLError]:
        """Return one error for each denied field, in the order of the answer."""
        if not self._found:
            return []
        firsts = [
            min((denial for _, denial in places.values()), key=lambda denial: _rank(data, denial.path))
            for places in self._found.values()
        ]
        return [_error(denial) for denial in sorted(firsts, key=lambda denial: _rank(data, denial.path))]


def _rank(data: Any, path: Sequence[str | int]) -> list[int]:
    """Return where the path lies in the answer, as numbers that compare as the answer is read."""
    return list(_steps(data, path))


def _steps(data: Any, path: Sequence[str | int]) -> Iterator[int]:
    here = data
    for part in path:
        if isinstance(part, int):
            yield part
            here = here[part] if isinstance(here, list) and part < len(here) else None
        elif isinstance(here, dict) and part in here:
            yield list(here).index(part)
            here = here[part]
        else:
            # Blanked by an error further up: after all that is there.
            yield 1 << 30
            here = None


def _error(denial: Denial) -> GraphQLError:
    cause = ForbiddenError(
        f"This needs the permission {denial.permission}.", permission=denial.permission, scope=str(denial.scope)
    )
    return GraphQLError(cause.message, nodes=list(denial.nodes), path=denial.path, original_error=cause)
