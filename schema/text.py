"""A look at an operation's text before anything parses it: how many tokens it has, and how deeply they are nested.

Parsing and validating take time that grows with both. This look takes a small part of that, stops at the limits, and
says which texts are small enough to be prepared at once; a larger one is prepared by a thread (`schema/operation.py`).
"""

import re
from typing import Final, NamedTuple

from schema.limits import MOST_TOKENS, TooComplexError

DEEPEST_NESTING: Final = 60
"""Brackets within brackets of any kind: fields and the values of their arguments together."""

# The lexical tokens of GraphQL (October 2021, 2.1.5), and what stands between them: whatever else there is, is for the
# parser to name. A text that is not closed runs to the end of its line.
_TOKEN: Final = re.compile(
    r"""
    [,\s\ufeff]+ | \#[^\n\r]*                                  # what is ignored
    | (?P<open>[{\[(]) | (?P<close>[}\])])
    | (?P<other>
        \"\"\"(?:\\\"\"\"|[^"\\]|\"(?!\"\")|\\(?!\"\"\"))*(?:\"\"\")?
      | "(?:[^"\\\n\r]|\\.)*"?
      | [_A-Za-z][_0-9A-Za-z]* | -?[0-9][0-9.eE+-]* | \.\.\. | .
    )
    """,
    re.VERBOSE | re.DOTALL,
)


class Extent(NamedTuple):
    """How large a text is."""

    tokens: int
    nesting: int


def extent_of(text: str, most: int = MOST_TOKENS) -> Extent:
    """Return how large a text is.

    most: the tokens that it may have.

    Raises:
        TooComplexError: it has more tokens than an operation may have, or is nested too deeply to make sense.
    """
    tokens = depth = deepest = 0
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind is None:
            continue
        tokens += 1
        if tokens > most:
            raise TooComplexError(
                f"The operation has more than {most} tokens. Ask for less at once.", limit="tokens", most=most
            )
        if kind == "open":
            depth += 1
            if depth > deepest:
                deepest = depth
                if depth > DEEPEST_NESTING:
                    raise TooComplexError(
                        "The operation is nested too deeply.", limit="levels of brackets", most=DEEPEST_NESTING
                    )
        elif kind == "close":
            depth -= 1
    return Extent(tokens, deepest)
