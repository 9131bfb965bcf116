"""Who the sweep asks as, and what each may do: arithmetic on their roles, said again in other words than the code's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF
from tests.support.served import Caller
from tests.sweep.page import OWN, DoorRow, FieldRow, Page

Names = frozenset[str]
Role = str | Names
"""A built-in role by its name, or the permissions of one of the organization's own."""
R = TypeVar("R")

BUILT_IN: Mapping[str, Names] = {
    **{str(role): frozenset(map(str, held)) for role, held in ORGANIZATION_ROLES.items()},
    **{str(role): frozenset(map(str, held)) for role, held in PROJECT_ROLES.items()},
}
MEMBER = "MEMBER"

DEMANDED: Mapping[tuple[str, str], str] = {
    ("Record", "createdBy"): "membership:read",
    ("Record", "device"): "device:read",
    ("AuditEntry", "user"): "membership:read",
    ("AuditEntry", "serviceAccount"): "service_account:read",
    ("AuditEntry", "device"): "device:read",
    ("ServiceAccount", "createdBy"): "membership:read",
    ("ProjectMember", "user"): "membership:read",
    ("ProjectMember", "customRole"): "role:read",
}
"""What a filter by the field takes in the whole organization besides, which the page's letters show and no cell names.

Held to the page by `test_the_page_says_of_each_role_what_its_permissions_give`.
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person was given and still has: a role in the organization, and in projects."""

    role: Role = MEMBER
    projects: Mapping[UUID, Role] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks.

    is_let_in: whether they may ask anything at all.
    standing: a person's; of a program, the one of who made it.
    scope: what a program's token allows; None for a person. limited_to: its projects, if it is limited.
    """

    key: str
    organization_id: UUID | None
    caller: Caller
    is_let_in: bool = True
    member_id: UUID | None = None
    standing: Standing = Standing()
    scope: Names | None = None
    limited_to: frozenset[UUID] | None = None
    account_id: UUID | None = None

    def __str__(self) -> str:
        return self.key

    def held(self, project: UUID | None, *, own: bool = False) -> Names:
        """Return the permissions in the project, or in the organization as a whole."""
        if not self.is_let_in:
            return frozenset()
        held = BUILT_IN[MEMBER] | _permissions(self.standing.role)
        if project is not None and project in self.standing.projects:
            held |= _permissions(self.standing.projects[project])
        if self.scope is None:
            return held | frozenset(map(str, SELF)) if own else held
        held &= self.scope
        return held if self.limited_to is None or project in self.limited_to else held & BUILT_IN[MEMBER]

    @property
    def reach(self) -> Names:
        """What is held in some scope or other."""
        projects = {*self.standing.projects, *(self.limited_to or ())}
        return self.held(None, own=True).union(*(self.held(project) for project in projects))

    @property
    def has_the_page_s_roles(self) -> bool:
        """Whether the page has a column for each of their roles."""
        roles = [self.standing.role, *self.standing.projects.values()]
        return self.scope is None and all(isinstance(role, str) for role in roles)

    def letters(self, page: Page, row: FieldRow, project: UUID | None, *, own: bool = False) -> Names:
        """Return what may be done with the field, in the page's letters, where the row lies in the project."""
        if not self.is_let_in:
            return frozenset()
        if not self.has_the_page_s_roles:
            return letters_of(page, row, self.held(project, own=own), everywhere=self.held(None))
        return frozenset().union(*(row.roles[role] for role in self._columns(project, own=own)))

    def may(self, door: DoorRow, project: UUID | None, *, own: bool = False) -> bool:
        """Return whether the mutation, or the entry, is open to them in the project; own: with what is their own."""
        if door.is_open or not self.is_let_in:
            return door.is_open
        if self.has_the_page_s_roles:
            return not door.roles.isdisjoint(self._columns(project, own=own))
        return not door.takes or not self.held(project, own=own).isdisjoint(door.takes)

    def _columns(self, project: UUID | None, *, own: bool) -> list[str]:
        """Return the columns of the page that count, all of them named there."""
        roles = [MEMBER, self.standing.role, self.standing.projects.get(project) if project else None]
        return [role for role in roles if isinstance(role, str)] + ([OWN] if own else [])


def letters_of(page: Page, row: FieldRow, held: Names, *, everywhere: Names) -> Names:
    """Return the letters that permissions give for which the page has no column.

    everywhere: those of them that are held in the whole organization.
    """
    used = frozenset().union(*row.roles.values())
    read = page.read_of(row.type_name)
    if read not in held:
        return frozenset()
    if row.takes and row.takes not in held:
        return used & {"m"}
    letters = used - {"m", "w"}
    if any(not held.isdisjoint(page.mutations[name].takes) for name in row.written_by):
        letters |= {"w"}
    demanded = DEMANDED.get((row.type_name, row.field))
    return letters if demanded is None or demanded in everywhere else letters - {"f"}


def _permissions(role: Role) -> Names:
    return BUILT_IN[role] if isinstance(role, str) else role
