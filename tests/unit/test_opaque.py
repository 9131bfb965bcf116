"""Cursors have one spelling."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.opaque import opaque_bytes, opaque_text


@given(st.binary(max_size=64))
def test_bytes_come_back(content: bytes) -> None:
    assert opaque_bytes(opaque_text(content)) == content


@given(st.binary(min_size=1, max_size=64), st.data())
def test_any_other_character_is_other_bytes_or_refused(content: bytes, data: st.DataObject) -> None:
    text = opaque_text(content)
    place = data.draw(st.integers(0, len(text) - 1))
    other = text[:place] + data.draw(st.characters().filter(lambda one: one != text[place])) + text[place + 1 :]

    with suppress(ValueError):
        assert opaque_bytes(other) != content


@pytest.mark.parametrize("text", ["AAA=", "AA==", "AA\n", "A!AA", "AB", "A", "AAAA!!!!", "Ä", "+/+/"])
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        opaque_bytes(text)
