"""What introspection shows each principal: nothing that the page says no role of theirs reaches."""

import pytest

from tests.support.mutation import OPEN_TO_ALL
from tests.sweep.conftest import Tally
from tests.sweep.contract import introspect
from tests.sweep.facts import CHILDREN
from tests.sweep.page import OWN, FieldRow, Page
from tests.sweep.principal import MEMBER, Principal, letters_of
from tests.sweep.stage import INSIDE, OUTSIDE, Cast


@pytest.mark.parametrize("key", INSIDE)
def test_nothing_is_shown_that_no_role_of_theirs_reaches(cast: Cast, page: Page, tally: Tally, key: str) -> None:
    who = cast.principals[key]

    shown = introspect(who.caller)

    findings = []
    for one in shown.object_types():
        for name in one.fields:
            said = page.fields.get(one.name, {}).get(name)
            if said is not None and not _reaches(page, who, said):
                findings.append(f"{key} is shown {one.name}.{name}: expected that it is hidden")
            tally.note("introspection", key, f"{one.name}.{name}")
    projects = [None, *cast.projects.values()]
    findings += [
        f"{key} is shown the mutation {name}: expected that it is hidden"
        for name in (shown.mutation if shown.schema.mutation_type else ())
        if not any(who.may(page.mutations[name], project, own=True) for project in projects)
    ]
    for name in shown.query:
        takes = page.entries[name].takes
        if takes and not who.reach.issuperset(takes):
            findings.append(f"{key} is shown the entry {name}: expected that it is hidden")

    assert not findings, "\n".join(findings[:20])


@pytest.mark.parametrize("key", OUTSIDE)
def test_who_is_not_let_in_is_shown_how_to_sign_in_or_nothing(cast: Cast, tally: Tally, key: str) -> None:
    caller = cast.principals[key].caller

    reply = caller.run("{ __schema { queryType { fields { name } } mutationType { fields { name } } } }")

    tally.note("introspection", key, "__schema")
    if key == "anonymous":
        assert {one["name"] for one in reply.data["__schema"]["mutationType"]["fields"]} == OPEN_TO_ALL
        assert {one["name"] for one in reply.data["__schema"]["queryType"]["fields"]} == {"viewer"}
    else:
        assert [error["extensions"]["code"] for error in reply.errors] == ["UNAUTHENTICATED"]
        assert reply.data is None


def _reaches(page: Page, who: Principal, said: FieldRow) -> bool:
    if (said.type_name, said.field) in CHILDREN:
        # A list shows at least what of its rows is one's own.
        child, _ = CHILDREN[said.type_name, said.field]
        said = next(iter(page.fields[child].values()))
    if not who.has_the_page_s_roles:
        return bool(letters_of(page, said, who.reach, everywhere=who.held(None)))
    roles = [MEMBER, who.standing.role, *who.standing.projects.values(), OWN]
    return any(said.roles[role] for role in roles if isinstance(role, str))
