"""Every field of every type, by every path, as every principal, held against the committed page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from graphql import is_leaf_type

from models.base import new_id
from tests.support.served import Reply
from tests.sweep.conftest import Tally
from tests.sweep.contract import Contract, is_connection, row_type, takes_arguments
from tests.sweep.facts import NEWEST_FIRST, NODELESS, Facts, Row, literal, until
from tests.sweep.page import Page
from tests.sweep.principal import BUILT_IN, MEMBER, Principal, letters_of
from tests.sweep.reading import PAGE_OF, Comparison, asked, sample, selection
from tests.sweep.stage import INSIDE, OUTSIDE, Cast

LEAST = 440
"""Combinations of field and path that each principal who is let in is asked about."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A list of the entries."""

    root: str
    type_name: str
    depth: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, comparison: Comparison, reply: Reply) -> None:
        rows = comparison.facts.visible(comparison.who, self.type_name)
        shown = (reply.data or {}).get(self.root)
        comparison.rows(self.type_name, rows, shown, self.depth, (self.root,), 200, first=PAGE_OF)
        comparison.errors(reply)


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """Some rows by their ids, and one id that was never used."""

    root: str
    type_name: str
    rows: Sequence[Row]
    depth: int

    @property
    def variables(self) -> Mapping[str, str]:
        """The ids, by the alias of what is looked up."""
        ids = [*(row["id"] for row in self.rows), new_id()]
        type_name = self.type_name.removeprefix("Past")
        return {f"a{index}": f"{type_name}:{one}" for index, one in enumerate(ids)}

    def __call__(self, comparison: Comparison, reply: Reply) -> None:
        facts, who, shown = comparison.facts, comparison.who, reply.data or {}
        for index, row in enumerate([*self.rows, None]):
            alias = f"a{index}"
            if row is not None and facts.sees(who, self.type_name, row):
                comparison.row(self.type_name, row, shown.get(alias), self.depth, (alias,), first=3)
            elif shown.get(alias, "") is not None:
                what = f"{self.type_name}:{row['id'] if row else 'of an unused id'}"
                comparison.findings.append(f"{who} {self.root} {what}: expected null, got {shown.get(alias)}"[:300])
        comparison.errors(reply)


@dataclass(frozen=True, slots=True)
class _Own:
    """The organization of who asks."""

    root: str = "organization"
    type_name: str = "Organization"
    depth: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, comparison: Comparison, reply: Reply) -> None:
        facts, who = comparison.facts, comparison.who
        row = facts.rows[self.type_name][who.organization_id]
        shown = (reply.data or {}).get(self.root, "")
        if facts.sees(who, self.type_name, row):
            comparison.row(self.type_name, row, shown, self.depth, (self.root,))
        elif shown is not None:
            comparison.findings.append(f"{who} organization: expected null, got {shown}")
        comparison.errors(reply)


Compare = _Listed | _LookedUp | _Own


def test_the_page_has_a_row_for_everything_that_the_server_tells_an_owner_of(page: Page, contract: Contract) -> None:
    told = {one.name: set(one.fields) for one in contract.object_types()}
    entries, mutations = told.pop("Query"), told.pop("Mutation")
    said = {name: set(fields) for name, fields in {**page.fields, **page.structures}.items()}

    differing = {name: told.get(name, set()) ^ said.get(name, set()) for name in told.keys() | said.keys()}
    assert not any(differing.values()), {name: fields for name, fields in differing.items() if fields}
    assert entries == set(page.entries)
    assert mutations == set(page.mutations)


def test_the_page_says_of_each_role_what_its_permissions_give(page: Page) -> None:
    """The letters, which the sweep expects of built-in roles, and the permissions, of which other roles are made."""
    for type_name, fields in page.fields.items():
        for row in fields.values():
            for role in page.roles[:4]:
                held = BUILT_IN[role] | BUILT_IN[MEMBER]
                assert row.roles[role] == letters_of(page, row, held, everywhere=held), (type_name, row.field, role)
    for role in page.roles[4:8]:
        held = BUILT_IN[role] | BUILT_IN[MEMBER]
        for type_name in ("Project", "ProjectMember", "Record", "Measurement"):
            for row in page.fields[type_name].values():
                wanted = letters_of(page, row, held, everywhere=BUILT_IN[MEMBER])
                assert row.roles[role] == wanted, (type_name, row.field, role)


@pytest.mark.parametrize("key", INSIDE)
def test_every_field_by_every_path_is_answered_as_the_page_says(
    cast: Cast, contract: Contract, facts: Facts, tally: Tally, key: str
) -> None:
    who = cast.principals[key]
    questions = [*_lists(contract, facts), *_lookups(contract, facts, who)]
    replies = who.caller.run_all([query for query, _ in questions], [compare.variables for _, compare in questions])

    findings: list[str] = []
    for reply, (_, compare) in zip(replies, questions, strict=True):
        comparison = Comparison(facts, who, compare.root)
        compare(comparison, reply)
        findings += comparison.findings
        for name in asked(contract, compare.type_name, compare.depth):
            tally.note("output", key, name, compare.root)

    assert not findings, f"{len(findings)} answers differ from the page:\n" + "\n".join(findings[:20])
    assert tally.of("output", key) >= LEAST


@pytest.mark.parametrize("key", OUTSIDE)
def test_who_is_not_let_in_is_answered_nothing(
    cast: Cast, contract: Contract, facts: Facts, tally: Tally, key: str
) -> None:
    who, owner = cast.principals[key], cast.principals["owner"]
    findings = []
    questions = [*_lists(contract, facts), *_lookups(contract, facts, owner)]
    replies = who.caller.run_all([query for query, _ in questions], [compare.variables for _, compare in questions])
    for (query, _), reply in zip(questions, replies, strict=True):
        codes = {error["extensions"]["code"] for error in reply.errors}
        if codes != {"UNAUTHENTICATED"} or any(value is not None for value in (reply.data or {}).values()):
            findings.append(
                f"{key}: expected UNAUTHENTICATED and nothing else for {query[:80]}, got {reply.text[:200]}"
            )
        tally.note("output", key, query[:60])
    viewer = who.caller.run("{ viewer { permissions user { id } } }")
    if viewer.data != {"viewer": None} or bool(viewer.errors) != (key != "anonymous"):
        findings.append(f"{key}: expected no viewer, got {viewer.text}")

    assert not findings, "\n".join(findings[:10])


@pytest.mark.parametrize("key", INSIDE)
def test_everybody_is_told_of_themselves_what_their_roles_give(
    cast: Cast, facts: Facts, tally: Tally, key: str
) -> None:
    who = cast.principals[key]
    places = {"here": None, **{code.lower(): project for code, project in cast.projects.items()}}
    asked = " ".join(
        f"{name}: permissions(projectId: {literal(f'Project:{project}') if project else 'null'})"
        for name, project in places.items()
    )
    shown = (
        "role customRole { id } user { id } serviceAccount { id } organization { id }"
        " projectRoles { role customRole { id } project { id } }"
    )

    viewer = who.caller.run(f"{{ viewer {{ {asked} {shown} }} }}").data["viewer"]

    for name, project in places.items():
        held = {one.replace(":", "_").upper() for one in who.held(project)}
        assert set(viewer[name]) == held, (key, name)
        tally.note("output", key, "Viewer.permissions", name)
    assert (viewer["user"] or {}).get("id") == (f"User:{who.member_id}" if who.scope is None else None)
    sees_accounts = "service_account:read" in who.held(None)
    assert (viewer["serviceAccount"] is not None) == (who.scope is not None and sees_accounts)
    assert viewer["organization"] is None or viewer["organization"]["id"] == f"Organization:{who.organization_id}"
    assert (viewer["organization"] is not None) == ("organization:read" in who.held(None))
    is_built_in = isinstance(who.standing.role, str)
    wanted = None if who.scope is not None else who.standing.role if is_built_in else MEMBER
    assert viewer["role"] == wanted
    seen = {f"Project:{row['id']}" for row in facts.visible(who, "Project")}
    assert {one["project"]["id"] for one in viewer["projectRoles"] if one["project"]} <= seen


def test_records_lead_to_sites_of_their_own_project_that_some_who_see_the_record_do_not_see(
    facts: Facts, cast: Cast
) -> None:
    sites = facts.rows["Site"]
    found = [
        (record, sites[site_id])
        for record in facts.rows["Record"].values()
        if (site_id := facts.linked("Record", "site", record)) is not None
    ]
    codes = [site["code"] for site in sites.values()]

    assert any(codes.count(site["code"]) > 1 for _, site in found)
    assert any(
        facts.sees(who, "Record", record) and not facts.sees(who, "Site", site)
        for who in cast.principals.values()
        for record, site in found
    )


def _lists(contract: Contract, facts: Facts) -> list[tuple[str, Compare]]:
    """Return every list of the entries with all that its rows show and lead to."""
    found: list[tuple[str, Compare]] = []
    for name, one in contract.query.items():
        if not is_connection(one):
            continue
        target = row_type(one)
        inner = selection(contract, target, 1)
        narrowed = until(facts, target)
        way = ", direction: ASC" if target in NEWEST_FIRST else ""
        query = (
            f"{{ {name}(first: 200{narrowed}{way}) {{ totalCount nodes {{ {inner} }} edges {{ node {{ id }} }} }} }}"
        )
        found.append((query, _Listed(name, target)))
    return found


def _lookups(contract: Contract, facts: Facts, who: Principal) -> list[tuple[str, Compare]]:
    """Return what is asked by id: a few rows of each type, by every entry that takes one, two steps deep."""
    found: list[tuple[str, Compare]] = []
    by_type = {
        row_type(one): name
        for name, one in contract.query.items()
        if takes_arguments(one) and name != "node" and not is_leaf_type(one.type)
    }
    for type_name in facts.rows:
        if type_name in NODELESS and type_name != "PastRecord":
            continue
        rows = sample(facts, who, type_name)
        # A program with one scope sees nothing beside what it reads: one step is as good as two.
        deepest = 1 if who.scope is not None and len(who.scope) <= 2 else 2
        for root, depth in (("node", deepest), (by_type.get(type_name), 1)):
            if root is None or (root == "node" and type_name in NODELESS):
                continue
            inner = selection(contract, type_name, depth, first=3)
            compare = _LookedUp(root, type_name, rows, depth)
            # The ids are variables, so that everybody's operations are the same, and parsed once.
            declared = ", ".join(f"${name}: ID!" for name in compare.variables)
            at = f", at: {literal(facts.at)}" if type_name == "PastRecord" else ""
            aliases = " ".join(f"{name}: {root}(id: ${name}{at}) {{ ...F }}" for name in compare.variables)
            query = f"query({declared}) {{ {aliases} }} fragment F on {type_name} {{ {inner} }}"
            found.append((query, compare))
    inner = selection(contract, "Organization", 1)
    found.append((f"{{ organization {{ {inner} }} }}", _Own()))
    return found
