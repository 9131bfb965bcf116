"""Where a decision is made: in an organization, in one of its projects, or about the viewer's own things."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class ScopeKind(StrEnum):
    """ORGANIZATION: no project is involved. PROJECT: one project's rows. SELF: a row about the viewer."""

    ORGANIZATION = "ORGANIZATION"
    PROJECT = "PROJECT"
    SELF = "SELF"


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a row or of an act; `project_id` is set for PROJECT alone."""

    kind: ScopeKind
    project_id: UUID | None = None


ORGANIZATION = Scope(ScopeKind.ORGANIZATION)
SELF = Scope(ScopeKind.SELF)


def project_scope(project_id: UUID) -> Scope:
    """Return the scope of the project's rows."""
    return Scope(ScopeKind.PROJECT, project_id)
