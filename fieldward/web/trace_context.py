"""The trace that a request says it is part of, from its `traceparent` header.

Standard: W3C Trace Context, Recommendation of 23 November 2021, section 3.2. What is not exactly of its form is no
trace: it is dropped, never mended, and no request is refused for it.
"""

import re
from typing import Final

TRACEPARENT: Final = "traceparent"

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII)
_NO_VERSION: Final = "ff"
_FIRST_VERSION: Final = "00"


def trace_id_of(header: str) -> str | None:
    """Return the trace id, 32 lower-case hexadecimal digits; None where the header is not well-formed.

    A later version may have more behind the four parts that are known; this one has none.
    """
    found = _FORM.fullmatch(header.strip(" \t"))
    if found is None:
        return None
    version, trace_id, parent_id, more = found.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and more is not None):
        return None
    # All zeros is how the standard writes that there is none.
    return trace_id if int(trace_id, 16) and int(parent_id, 16) else None
