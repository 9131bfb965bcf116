"""What an expression of PromQL asks for: names of metrics, and the labels that it looks at or groups by."""

import re
from collections.abc import Iterator
from typing import Final

_TEXT: Final = re.compile(r'"(?:\\.|[^"\\])*"')
_SPAN: Final = re.compile(r"\[[^\]]*\]")
_GROUP: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR: Final = re.compile(r"(?<![\w.])([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?(\s*\()?")
_MATCHER: Final = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_KEYWORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
OF_PROMETHEUS: Final = frozenset({"up"})
"""Metrics that Prometheus itself makes of each process."""
ITS_LABELS: Final = frozenset({"instance", "job", "le"})
"""Labels that Prometheus puts on each metric, and that of the buckets of a histogram."""


def asked_in(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each metric that an expression names, with the labels that it is chosen by."""
    text = _GROUP.sub(" ", _SPAN.sub(" ", _TEXT.sub('""', expression)))
    for name, matchers, call in _SELECTOR.findall(text):
        if not call and name.lower() not in _KEYWORDS:
            yield name, frozenset(_MATCHER.findall(matchers))


def grouped_in(expression: str) -> set[str]:
    """Return the labels that an expression groups by."""
    return {label.strip() for group in _GROUP.findall(expression) for label in group.split(",") if label.strip()}
