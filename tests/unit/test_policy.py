"""The policy as a table, and the laws that hold for any viewer."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import ForbiddenError, UnauthenticatedError
from auth.escalation import require_may_assign_in_organization, require_may_assign_in_project
from auth.permission import Permission as P
from auth.policy import can, has_everywhere, permissions_in, projects_with, require
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF, OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, Scope, project_scope

PROJECTS = [UUID(int=number) for number in range(1, 5)]


def a_viewer(role: OrganizationRole, projects: dict[UUID, ProjectRole] | None = None) -> Viewer:
    """Return a viewer with these roles."""
    return Viewer(
        user_id=UUID(int=100),
        membership_id=UUID(int=101),
        organization_id=UUID(int=102),
        session_id=UUID(int=103),
        device_id=None,
        role=role,
        project_roles=projects or {},
    )


viewers = st.builds(
    a_viewer,
    st.sampled_from(OrganizationRole),
    st.dictionaries(st.sampled_from(PROJECTS), st.sampled_from(ProjectRole)),
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
    grants = set(ORGANIZATION_ROLES[viewer.role])
    if scope.project_id is not None and scope.project_id in viewer.project_roles:
        grants |= PROJECT_ROLES[viewer.project_roles[scope.project_id]]
    if scope.is_own:
        grants |= SELF

    assert can(viewer, permission, scope) == (permission in grants)


@given(viewers, st.sets(st.sampled_from(P), min_size=1, max_size=4))
def test_the_projects_found_are_those_in_which_each_permission_is_held(viewer: Viewer, wanted: set[P]) -> None:
    found = set(projects_with(viewer, wanted))

    assert found == {
        project for project in viewer.project_roles if wanted <= permissions_in(viewer, project_scope(project))
    }
    assert has_everywhere(viewer, wanted) == (wanted <= permissions_in(viewer, ORGANIZATION))


@given(viewers, st.sampled_from(OrganizationRole), st.sampled_from(OrganizationRole), st.booleans())
def test_nobody_gives_or_takes_in_the_organization_more_than_they_have(
    viewer: Viewer, current: OrganizationRole, wanted: OrganizationRole, own: bool
) -> None:
    try:
        require_may_assign_in_organization(viewer, own=own, current=current, wanted=wanted)
    except ForbiddenError:
        return

    held = permissions_in(viewer, ORGANIZATION)
    assert not own
    assert held >= ORGANIZATION_ROLES[current] | ORGANIZATION_ROLES[wanted]
    assert viewer.role is OrganizationRole.OWNER or OrganizationRole.OWNER not in {current, wanted}


@given(
    viewers,
    st.sampled_from(PROJECTS),
    st.none() | st.sampled_from(ProjectRole),
    st.none() | st.sampled_from(ProjectRole),
    st.booleans(),
)
def test_nobody_gives_or_takes_in_a_project_more_than_they_have_there(
    viewer: Viewer, project: UUID, current: ProjectRole | None, wanted: ProjectRole | None, own: bool
) -> None:
    scope = project_scope(project)
    try:
        require_may_assign_in_project(viewer, scope, own=own, current=current, wanted=wanted)
    except ForbiddenError:
        return

    assert not own
    for role in (current, wanted):
        assert role is None or permissions_in(viewer, scope) >= PROJECT_ROLES[role]
