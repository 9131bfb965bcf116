"""What an expression of PromQL asks for: names of metrics, and the labels that it looks at or groups by."""

import re
from collections.abc import Iterator
from typing import Final

_TEXT: Final = re.compile(r'"(?:\\.|[^"\\])*"')
_SPAN: Final = re.compile(r"\[[^\]]*\]")
_GROUP: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR: Final = re.compile(r"(?<![\w.])([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?(\s*\()?")
_MATCHER: Final = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_CHOSEN: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{((?:[^\"}]|\"(?:\\.|[^\"\\])*\")*)\}")
_VALUE: Final = re.compile(r"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*\"((?:\\.|[^\"\\])*)\"")
_ALTERNATIVES: Final = re.compile(r"[\w /-]+(?:\|[\w /-]+)*")
_ANY: Final = ".*"
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


def values_in(expression: str) -> Iterator[tuple[str, str, str]]:
    """Yield each value that a label is compared with, as metric, label and value; of a pattern each alternative,
    and of one that takes anything none.

    Raises:
        ValueError: a pattern is more than alternatives, so that nobody can say which values it means.
    """
    for name, matchers in _CHOSEN.findall(expression):
        for label, operator, value in _VALUE.findall(matchers):
            if not operator.endswith("~"):
                yield name, label, value
            elif _ALTERNATIVES.fullmatch(value):
                yield from ((name, label, one) for one in value.split("|"))
            elif value != _ANY:
                raise ValueError(f"expected alternatives alone in {name}{{{label}{operator}{value!r}}}")


def grouped_in(expression: str) -> set[str]:
    """Return the labels that an expression groups by."""
    return {label.strip() for group in _GROUP.findall(expression) for label in group.split(",") if label.strip()}
