"""The page of one's own account: what it is made of, and what it is served with."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from graphql import parse, validate
from starlette.applications import Starlette

from fieldward.web.pages import page_routes
from schema.api import Api
from tests.support.world import World

FOLDER: Final = Path(__file__).resolve().parents[2] / "fieldward" / "pages" / "account"
OPERATION: Final = re.compile(r"export const (\w+) = /\* GraphQL \*/ `([^`]+)`")
OPERATIONS: Final = dict(OPERATION.findall((FOLDER / "operations.js").read_text()))
OF_GRAPHIQL: Final = dict(OPERATION.findall((FOLDER.parent / "build" / "src" / "operations.js").read_text()))
IMPORT: Final = re.compile(r"from '\./(\w+\.js)'")
INPUT: Final = re.compile(r"<input ([^>]+)>")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the pages' own routes."""
    transport = httpx.ASGITransport(
        Starlette(routes=page_routes(audience="fieldward-api", kept_inputs=["RecordFilter.siteCode"]))
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://fieldward.test") as client:
        yield client


@pytest.fixture
async def page(http: httpx.AsyncClient) -> str:
    """The page's markup."""
    return (await http.get("/account")).text


async def test_the_page_may_reach_nothing_but_its_own_server_and_makes_no_markup_of_text(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.get("/account")

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    assert "set-cookie" not in answer.headers


async def test_the_page_is_not_kept_or_named_to_others_and_may_ask_for_passkeys(world: World) -> None:
    """As the whole service answers it: these headers are put on whatever is answered."""
    answer = await world.http.get("/account")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "publickey-credentials-get" not in answer.headers["permissions-policy"]


async def test_the_page_holds_no_inline_script_style_or_handler(page: str) -> None:
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\s(style|on\w+)=", page)
    assert "{{" not in page


async def test_every_module_that_another_names_is_served_beside_it(http: httpx.AsyncClient, page: str) -> None:
    main = re.search(r'src="(/account/static/[0-9a-f]{16}/)main\.js"', page)
    assert main is not None
    waiting, served = ["main.js"], set[str]()

    while waiting:
        name = waiting.pop()
        answer = await http.get(main[1] + name)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        served.add(name)
        waiting += [one for one in IMPORT.findall(answer.text) if one not in served]

    assert served == {one.name for one in FOLDER.glob("*.js")}


async def test_a_file_is_served_under_the_digest_of_the_pages_files_alone(http: httpx.AsyncClient) -> None:
    assert (await http.get("/account/static/0000000000000000/main.js")).status_code == 404
    assert (await http.get("/account/static/main.js")).status_code == 404


async def test_every_password_field_is_masked_and_named_for_password_managers(page: str) -> None:
    inputs = [dict(re.findall(r'([\w-]+)="([^"]*)"', one)) for one in INPUT.findall(page)]
    secret = [one for one in inputs if "assword" in one.get("name", "")]

    assert len(secret) == 6
    for one in secret:
        assert one["type"] == "password", one
        assert one["autocomplete"] in {"current-password", "new-password"}, one
        assert "maxlength" not in one
    assert "paste" not in "".join(file.read_text() for file in FOLDER.glob("*.js"))


async def test_every_field_has_a_label_and_every_id_is_one_elements(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    labelled = set(re.findall(r'<label for="([^"]+)"|<label><input id="([^"]+)"', page))

    assert len(ids) == len(set(ids))
    fields = {one for found in INPUT.findall(page) for one in re.findall(r'\bid="([^"]+)"', found)}
    assert fields == {one or other for one, other in labelled}
    for named in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', page):
        assert named in ids


async def test_every_element_that_a_module_asks_for_is_in_the_page(page: str) -> None:
    ids = set(re.findall(r'\sid="([^"]+)"', page))

    for file in FOLDER.glob("*.js"):
        for named in re.findall(r"byId\('([^']+)'\)", file.read_text()):
            assert named in ids, f"{file.name}: {named}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_the_page_fits_the_schema(api: Api, name: str) -> None:
    assert validate(api._schema, parse(OPERATIONS[name])) == []


@pytest.mark.parametrize("name", OF_GRAPHIQL)
def test_an_operation_of_the_query_page_fits_the_schema(api: Api, name: str) -> None:
    assert validate(api._schema, parse(OF_GRAPHIQL[name])) == []


def test_every_operation_is_sent_by_a_module() -> None:
    sent = " ".join(file.read_text() for file in FOLDER.glob("*.js") if file.name != "operations.js")

    for name in OPERATIONS:
        assert re.search(rf"(?:change|changeAnonymously|ask)\({name}\b", sent), name
