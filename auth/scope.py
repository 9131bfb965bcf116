"""Where a decision is made: in an organization, in one of its projects, about the viewer's own things."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a row or of an act.

    project_id: the project that it lies in; None for what belongs to the organization as a whole.
    is_own: whether it is about the viewer: their membership, their device.
    """

    project_id: UUID | None = None
    is_own: bool = False

    def __str__(self) -> str:
        """The scope's name towards clients: `ORGANIZATION`, or the project's global id."""
        return "ORGANIZATION" if self.project_id is None else f"Project:{self.project_id}"


ORGANIZATION = Scope()
"""The organization as a whole."""


def project_scope(project_id: UUID) -> Scope:
    """Return the scope of the project's rows."""
    return Scope(project_id=project_id)
