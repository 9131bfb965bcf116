"""What somebody may do, worked out once from their grants and asked for every decision.

An `Access` is a value: two people with the same grants have equal ones, and whatever is derived from it (the schema
that they see, the plan of an operation) can be kept by it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from auth.permission import Permission
from auth.role import ORGANIZATION_ROLES, SELF, OrganizationRole
from auth.scope import Scope

Permissions = frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that gives permissions: a role in the organization, or in one project.

    role: the name of the built-in role, or of the organization's own.
    project_id: where it counts; None: in the organization and every project of it.
    custom_role_id: of the organization's own role; None for a built-in one.
    expires_at: the moment from which it gives nothing; None: until it is taken away.
    """

    role: str
    permissions: Permissions = field(repr=False)
    project_id: UUID | None = None
    custom_role_id: UUID | None = None
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Return whether it still gives anything."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """Permissions by scope.

    everywhere: in the organization, and in each project that is not in `projects`.
    projects: in each of these projects, all that is held there, `everywhere` included.
    own: what is held besides with what is one's own.
    reach: what is held in some scope or other.
    """

    everywhere: Permissions
    projects: Mapping[UUID, Permissions]
    own: Permissions
    reach: Permissions = field(init=False)

    def __post_init__(self) -> None:
        # Asked for at each place of each operation.
        object.__setattr__(self, "reach", self.everywhere.union(self.own, *self.projects.values()))

    def in_scope(self, scope: Scope) -> Permissions:
        """Return all that is held in the scope."""
        held = self.everywhere
        if scope.project_id is not None:
            held = self.projects.get(scope.project_id, held)
        return held | self.own if scope.is_own else held

    def within(self, other: "Access") -> "Access":
        """Return what both hold: of one's own, only what the other holds everywhere."""
        projects = {*self.projects, *other.projects}
        return Access(
            everywhere=self.everywhere & other.everywhere,
            projects=MappingProxyType(
                {
                    project: self.projects.get(project, self.everywhere) & other.projects.get(project, other.everywhere)
                    for project in projects
                }
            ),
            own=self.own & other.everywhere,
        )

    def cut_to(self, permissions: Permissions, projects: Iterable[UUID] | None = None) -> "Access":
        """Return what is left of it within a token's scope: these permissions and, if given, these projects alone.

        A token of some projects sees of the organization what everybody in it sees. Nothing is a token's own.
        """
        if projects is None:
            return Access(
                everywhere=self.everywhere & permissions,
                projects=MappingProxyType({project: held & permissions for project, held in self.projects.items()}),
                own=frozenset(),
            )
        return Access(
            everywhere=self.everywhere & permissions & ORGANIZATION_ROLES[OrganizationRole.MEMBER],
            projects=MappingProxyType(
                {project: self.projects.get(project, self.everywhere) & permissions for project in projects}
            ),
            own=frozenset(),
        )


NOTHING: Final = Access(frozenset(), MappingProxyType({}), frozenset())


def access_of(grants: Iterable[Grant]) -> Access:
    """Return what grants that hold give to a member of the organization."""
    everywhere = ORGANIZATION_ROLES[OrganizationRole.MEMBER]
    by_project: dict[UUID, Permissions] = {}
    for grant in grants:
        if grant.project_id is None:
            everywhere |= grant.permissions
        else:
            by_project[grant.project_id] = by_project.get(grant.project_id, frozenset()) | grant.permissions
    return Access(
        everywhere=everywhere,
        projects=MappingProxyType({project: everywhere | held for project, held in by_project.items()}),
        own=SELF,
    )
