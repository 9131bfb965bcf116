"""What the trail keeps of an operation's text tells nothing of what was written into it."""

from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resolvers.trail import Operation
from schema.operation import text_digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{ a(b: "secret") }', '{ a(b: "") }'),
        ('{ a(b: "with \\" a quote", c: "x") }', '{ a(b: "", c: "y") }'),
        ('{ a(b: """a\n "block" \\""" of lines""") }', '{ a(b: "") }'),
        ('{ a(b: "not ended\n) }', '{ a(b: "never ended\n) }'),
        ('{ a(b: """not ended ) }', '{ a(b: """never ended, with " in it'),
        ('{ a # 5" pipes, "odd\n(b: "secret") }', '{ a \n(b: "guess") }'),
        ("{ a } # a comment", "{ a } # another"),
        ("{ a(b: 51.47873, c: -0.29561) }", "{ a(b: 12.5, c: 0.3) }"),
        ("{ a(b: 5147873e-5,c:1E3) }", "{ a(b: 1.5e+10,c:1.0) }"),
    ],
)
def test_what_is_said_in_a_text_does_not_show_in_its_digest(one: str, other: str) -> None:
    assert text_digest(one) == text_digest(other)


@given(text=st.text(alphabet=st.characters(exclude_characters='"#', exclude_categories=["Cs", "Nd"])))
@example("{ a1e5: a(first: 50, b: -1, c: $v1e5) { ...e5 ... on A2e3 { b } } }")
def test_an_operation_with_variables_alone_has_the_digest_of_its_text(text: str) -> None:
    assert text_digest(text) == sha256(text.encode()).hexdigest()


def test_other_operations_have_other_digests() -> None:
    texts = ['{ a(b: "x") }', '{ a(c: "x") }', "{ a(b: 1) }", "{ a(b: 2) }", '{ a(b: "x", c: "y") }']

    assert len({text_digest(text) for text in texts}) == len(texts)


def test_nothing_is_digested_before_an_entry_asks_for_it() -> None:
    asked: list[str] = []

    def find() -> str:
        asked.append("digest")
        return "found"

    operation = Operation("Name", find)

    assert asked == []
    assert operation == Operation("Name")
    assert (operation.digest, Operation().digest) == ("found", None)
    assert asked == ["digest"]
