"""The policy as a table, and the laws that hold for any viewer."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.access import NOTHING, Access, Grant, access_of
from auth.errors import ForbiddenError, UnauthenticatedError
from auth.escalation import require_may_assign, require_owner
from auth.permission import Permission as P
from auth.policy import can, has_everywhere, permissions_in, projects_with, require
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF, OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, Scope, project_scope

PROJECTS = [UUID(int=number) for number in range(1, 5)]


def a_viewer(role: OrganizationRole, projects: dict[UUID, ProjectRole] | None = None) -> Viewer:
    """Return a viewer with these roles."""
    grants = (
        Grant(role, ORGANIZATION_ROLES[role]),
        *(Grant(one, PROJECT_ROLES[one], project) for project, one in (projects or {}).items()),
    )
    return Viewer(
        user_id=UUID(int=100),
        membership_id=UUID(int=101),
        organization_id=UUID(int=102),
        session_id=UUID(int=103),
        device_id=None,
        role=role,
        grants=grants,
        access=access_of(grants),
    )


viewers = st.builds(
    a_viewer,
    st.sampled_from(OrganizationRole),
    st.dictionaries(st.sampled_from(PROJECTS), st.sampled_from(ProjectRole)),
)
accesses = st.builds(
    lambda viewer, permissions, projects: (
        viewer.access if permissions is None else viewer.access.cut_to(frozenset(permissions), projects)
    ),
    viewers,
    st.none() | st.sets(st.sampled_from(P)),
    st.none() | st.lists(st.sampled_from(PROJECTS), unique=True),
)
scopes = st.builds(Scope, st.none() | st.sampled_from(PROJECTS), st.booleans())


def test_every_role_is_in_the_matrix_and_every_permission_is_somebodys() -> None:
    assert set(ORGANIZATION_ROLES) == set(OrganizationRole)
    assert set(PROJECT_ROLES) == set(ProjectRole)
    assert ORGANIZATION_ROLES[OrganizationRole.OWNER] == frozenset(P)


def test_an_auditor_reads_everything_and_changes_nothing() -> None:
    assert {one.partition(":")[2].partition("_")[0] for one in ORGANIZATION_ROLES[OrganizationRole.AUDITOR]} == {"read"}


@pytest.mark.parametrize(
    ("role", "permission", "expected"),
    [
        (ProjectRole.VIEWER, P.RECORD_READ, True),
        (ProjectRole.VIEWER, P.RECORD_READ_CONFIDENTIAL, False),
        (ProjectRole.VIEWER, P.RECORD_READ_PERSONAL, False),
        (ProjectRole.VIEWER, P.RECORD_CREATE, False),
        (ProjectRole.COLLECTOR, P.RECORD_CREATE, True),
        (ProjectRole.COLLECTOR, P.RECORD_UPDATE, False),
        (ProjectRole.COLLECTOR, P.RECORD_REVIEW, False),
        (ProjectRole.REVIEWER, P.RECORD_REVIEW, True),
        (ProjectRole.REVIEWER, P.RECORD_CREATE, False),
        (ProjectRole.MANAGER, P.RECORD_DELETE, True),
        (ProjectRole.MANAGER, P.PROJECT_ARCHIVE, False),
        (ProjectRole.MANAGER, P.MEMBERSHIP_READ, False),
    ],
)
def test_a_project_role_grants_this_and_not_that(role: ProjectRole, permission: P, expected: bool) -> None:
    viewer = a_viewer(OrganizationRole.MEMBER, {PROJECTS[0]: role})

    assert can(viewer, permission, project_scope(PROJECTS[0])) is expected
    assert not can(viewer, permission, project_scope(PROJECTS[1]))
    assert not can(viewer, permission, ORGANIZATION)


def test_nobody_may_do_anything() -> None:
    assert not any(can(None, permission, ORGANIZATION) for permission in P)
    with pytest.raises(UnauthenticatedError):
        require(None, P.RECORD_READ, ORGANIZATION)


def test_a_refusal_names_the_permission_that_is_missing() -> None:
    with pytest.raises(ForbiddenError) as caught:
        require(a_viewer(OrganizationRole.MEMBER), P.PROJECT_CREATE, ORGANIZATION)

    assert caught.value.permission == P.PROJECT_CREATE


@given(viewers, scopes, st.sampled_from(P))
def test_what_is_not_granted_by_a_role_is_denied(viewer: Viewer, scope: Scope, permission: P) -> None:
    held = {one for grant in viewer.grants if grant.project_id in {None, scope.project_id} for one in grant.permissions}
    if scope.is_own:
        held |= SELF

    assert can(viewer, permission, scope) == (permission in held | ORGANIZATION_ROLES[OrganizationRole.MEMBER])


@given(viewers, st.sets(st.sampled_from(P), min_size=1, max_size=4))
def test_the_projects_found_are_those_in_which_each_permission_is_held(viewer: Viewer, wanted: set[P]) -> None:
    found = set(projects_with(viewer, wanted))

    assert found == {
        project for project in viewer.access.projects if wanted <= permissions_in(viewer, project_scope(project))
    }
    assert has_everywhere(viewer, wanted) == (wanted <= permissions_in(viewer, ORGANIZATION))


@given(viewers, scopes, st.sets(st.sampled_from(P)), st.sets(st.sampled_from(P)), st.booleans())
def test_nobody_gives_or_takes_more_than_they_have_there(
    viewer: Viewer, scope: Scope, current: set[P], wanted: set[P], own: bool
) -> None:
    try:
        require_may_assign(viewer, scope, own=own, current=frozenset(current), wanted=frozenset(wanted))
    except ForbiddenError:
        assert own or not permissions_in(viewer, scope) >= current | wanted
        return

    assert not own
    assert permissions_in(viewer, scope) >= current | wanted


@given(viewers, st.lists(st.sampled_from(OrganizationRole), max_size=2))
def test_only_owners_make_and_unmake_owners(viewer: Viewer, roles: list[OrganizationRole]) -> None:
    try:
        require_owner(viewer, *roles)
    except ForbiddenError:
        assert OrganizationRole.OWNER in roles
        assert viewer.role is not OrganizationRole.OWNER
    else:
        assert OrganizationRole.OWNER not in roles or viewer.role is OrganizationRole.OWNER


@given(accesses, scopes)
def test_in_no_project_is_less_held_than_everywhere(access: Access, scope: Scope) -> None:
    assert access.in_scope(scope) >= access.everywhere
    assert access.reach >= access.in_scope(scope)


@given(accesses, accesses, scopes)
def test_within_another_nobody_may_do_what_either_may_not(one: Access, other: Access, scope: Scope) -> None:
    both = one.within(other)

    assert both.in_scope(scope) <= one.in_scope(scope)
    assert both.in_scope(scope) <= other.in_scope(Scope(scope.project_id))
    assert both.in_scope(Scope(scope.project_id)) == one.in_scope(Scope(scope.project_id)) & other.in_scope(
        Scope(scope.project_id)
    )


@given(viewers, scopes, st.sets(st.sampled_from(P)), st.none() | st.lists(st.sampled_from(PROJECTS), unique=True))
def test_a_tokens_scope_takes_away_and_never_adds(
    viewer: Viewer, scope: Scope, permissions: set[P], projects: list[UUID] | None
) -> None:
    cut = viewer.access.cut_to(frozenset(permissions), projects)

    assert cut.in_scope(scope) <= viewer.access.in_scope(scope) & permissions
    assert not cut.own
    if projects is not None and scope.project_id not in projects:
        assert cut.in_scope(scope) <= ORGANIZATION_ROLES[OrganizationRole.MEMBER]


def test_a_grant_gives_nothing_from_its_expiry_on() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    grant = Grant(ProjectRole.VIEWER, PROJECT_ROLES[ProjectRole.VIEWER], PROJECTS[0], expires_at=at)

    assert grant.holds(at - timedelta(microseconds=1))
    assert not grant.holds(at)


@given(scopes)
def test_nothing_is_nothing(scope: Scope) -> None:
    assert NOTHING.in_scope(scope) == frozenset()
