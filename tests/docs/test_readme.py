"""What the README and the pages of `docs/` say, held to the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import parse, validate

from fieldward.cli.access import access_page, role_table
from fieldward.cli.inventory_page import inventory_page
from fieldward.settings import Settings
from schema.api import build_api

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))

GRAPHQL = re.compile(r"^```graphql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"^\| `(FIELDWARD_[A-Z_]+)` +\| `([^`]*)` +\|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def queries() -> Iterator[tuple[str, str]]:
    """Yield each GraphQL block of the pages, with its page."""
    for page in PAGES:
        for block in GRAPHQL.findall(page.read_text()):
            yield page.name, block


def test_the_roles_of_the_readme_are_those_of_the_code() -> None:
    between = re.search(r"<!-- roles:begin -->\n(.*?)\n<!-- roles:end -->", README.read_text(), re.DOTALL)

    assert between is not None
    assert between[1].strip() == role_table()


def test_the_configuration_of_the_readme_is_that_of_the_code() -> None:
    named = dict(VARIABLE.findall(README.read_text()))
    defaults = {
        f"FIELDWARD_{name.upper()}": "none" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }

    assert named == defaults


def test_no_page_names_a_variable_that_is_not_read() -> None:
    known = {f"FIELDWARD_{name.upper()}" for name in Settings.model_fields}

    for page in PAGES:
        assert set(re.findall(r"FIELDWARD_[A-Z_]*[A-Z]", page.read_text())) <= known, page


def test_the_first_query_stands_below_its_heading() -> None:
    _, _, below = README.read_text().partition("\n## A first query\n")

    assert re.match(r"\s*```graphql\n", below)


@pytest.mark.parametrize(("page", "query"), list(queries()))
def test_a_query_fits_the_schema(page: str, query: str) -> None:
    assert validate(build_api()._schema, parse(query)) == [], page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_leads_to_a_page_that_is_there(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_page_is_to_be_found_from_the_readme() -> None:
    linked = {(ROOT / target).resolve() for target in LINK.findall(README.read_text())}

    assert [page for page in PAGES[1:] if page not in linked and page.parent not in linked] == []


def test_no_line_of_the_readme_is_too_long_to_be_read() -> None:
    lines = README.read_text().splitlines()

    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_the_page_of_who_may_do_what_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "access.md").read_text() == access_page()


def test_the_page_of_what_is_stored_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "data-inventory.md").read_text() == inventory_page()
