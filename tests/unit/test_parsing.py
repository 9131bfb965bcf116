"""Operations are parsed as graphql-core does, and looking at them leaves nothing for the garbage collector."""

import gc
from collections.abc import Iterator

import orjson
import pytest
from graphql import GraphQLError, parse

from bench.bomb import bombs
from schema.api import Api
from schema.parsing import parsed

MOST = 4000
LEFT = 100
"""Objects that may be left of an operation, whatever its size: what an exception's frames hold, for example."""
GOOD = """
# A comment, and another.
# The second.
query Good($first: Int = 3, $ids: [ID!]) {  # within
  records(first: $first, filter: {siteCode: {in: ["a", "b"]}}) { nodes { ...Of } }  # more
  nodes(ids: $ids) { __typename }
}
fragment Of on Record { id measurements { value } }
"""
TEXTS = [
    GOOD,
    "{ viewer { role } }",
    '"""What it does.""" query A { viewer { role } }',
    "query($a: Int = 1 @b) { a(b: [1, 2.5, true, null, RED, {c: $a}]) @include(if: true) { ...on Query { d } } }",
]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", bombs())
def test_a_refused_operation_leaves_nothing_behind(api: Api, name: str) -> None:
    body = orjson.loads(bombs()[name].body) if "in a variable" not in name else {"query": GOOD}
    text = body["query"] if isinstance(body, dict) else GOOD
    api.operations.prepare("{ viewer { role } }", keep=False)
    gc.collect()

    try:
        api.operations.prepare(text, keep=False)
    except Exception as error:
        error.__traceback__ = None

    assert gc.collect() < LEFT


@pytest.mark.usefixtures("no_collector")
def test_an_operation_that_is_good_leaves_nothing_behind(api: Api) -> None:
    api.operations.prepare("{ viewer { role } }", keep=False)
    gc.collect()

    api.operations.prepare("query A { " + " ".join(f"a{one}: viewer {{ role }}" for one in range(90)) + "}", keep=False)

    assert gc.collect() < LEFT


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_parsed_as_graphql_core_does(text: str) -> None:
    ours, theirs = parsed(text, MOST), parse(text)

    assert ours == theirs
    assert [(one.loc.start, one.loc.end) for one in ours.definitions if one.loc] == [
        (one.loc.start, one.loc.end) for one in theirs.definitions if one.loc
    ]
    assert ours.loc is not None
    assert ours.loc.start_token.next is None


@pytest.mark.parametrize(
    "text",
    ["{ a(", "{ a b: }", "query {", '{ a(b: "c) }', "{ a }" + "\n# c" * MOST, "{ " + "a " * MOST + "}", "\x00", ""],
)
def test_what_is_no_document_is_refused_as_graphql_core_does(text: str) -> None:
    with pytest.raises(GraphQLError) as ours:
        parsed(text, MOST)
    with pytest.raises(GraphQLError) as theirs:
        parse(text, max_tokens=MOST)

    assert ours.value.message == theirs.value.message
    assert ours.value.locations == theirs.value.locations
