"""The trace that a request says it is part of, from its `traceparent` header.

Standard: W3C Trace Context, Recommendation of 23 November 2021, section 3.2. What is not exactly of its form is no
trace: it is dropped, never mended, and no request is refused for it.
"""

import re
from typing import Final, NamedTuple

TRACEPARENT: Final = "traceparent"

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_VERSION: Final = "ff"
_FIRST_VERSION: Final = "00"
_SAMPLED: Final = 1
"""The one flag that is known."""


class Parent(NamedTuple):
    """The span that a request was made in: its trace, itself, and whether whoever made it says that it is recorded."""

    trace_id: int
    span_id: int
    flags: int


def parent_of(header: str) -> Parent | None:
    """Return the span that a header names; None where the header is not well-formed.

    A later version may have more behind the four parts that are known; this one has none.
    """
    found = _FORM.fullmatch(header.strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16) & _SAMPLED)
    # All zeros is how the standard writes that there is none.
    return parent if parent.trace_id and parent.span_id else None


def trace_id_of(header: str) -> str | None:
    """Return the trace id, 32 lower-case hexadecimal digits; None where the header is not well-formed."""
    parent = parent_of(header)
    return None if parent is None else f"{parent.trace_id:032x}"
