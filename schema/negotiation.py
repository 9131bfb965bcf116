"""Which media type an answer has: what a client accepts, weighed as RFC 9110 says (12.4.2, 12.4.3, 12.5.1).

There are two to choose from. Who names `application/graphql-response+json` gets that, unless they like JSON more; who
names neither, and takes anything, gets JSON: clients of before know no other.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

JSON: Final = b"application/json"
RESPONSE_TYPE: Final = b"application/graphql-response+json"

_ANY: Final = "*/*"
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  (the grammar's name of a word)
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_PART: Final = re.compile(rf"(?:{_QUOTED}|[^,\"])+")
_PARAMETER: Final = re.compile(rf"\s*;\s*(?:({_TOKEN})\s*=\s*({_TOKEN}|{_QUOTED}))?\s*")
_NAME: Final = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*")
_WEIGHT: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
_LONGEST: Final = 1000
"""Characters of a header that are looked at. Browsers send some two hundred."""


def media_type_for(accept: bytes | None) -> bytes | None:
    """Return the media type that a client with this `Accept` is answered in; None where it takes neither.

    accept: the header; None, or empty, where there is none: then anything is taken. What is malformed in it is passed
        over; where all of it is, there is none.
    """
    if not accept or accept == JSON:
        return JSON
    return _chosen(accept[:_LONGEST])


@lru_cache(maxsize=256)
def _chosen(accept: bytes) -> bytes | None:
    ranges = list(_ranges(accept.decode("latin-1")))
    if not ranges:
        return JSON
    weighed = [(*_weight(ranges, one), one) for one in (RESPONSE_TYPE, JSON)]
    liked = [(weight, closeness, one) for weight, closeness, one in weighed if weight > 0]
    if not liked:
        return None
    best = max(weight for weight, _, _ in liked)
    # Of what is liked as much, what is named goes before what is merely covered; of both named, our own.
    named = [one for weight, closeness, one in liked if weight == best and closeness >= _NAMED]
    covered = [one for weight, _, one in liked if weight == best]
    return named[0] if named else covered[-1]


_NAMED: Final = 2


def _weight(ranges: list[tuple[str, Mapping[str, str], float]], media_type: bytes) -> tuple[float, int]:
    """Return how much a media type is wanted, and how closely the range that says so names it; 0 where none does."""
    name = media_type.decode()
    found = (0.0, -1)
    for said, parameters, weight in ranges:
        closeness = _closeness(said, parameters, name)
        if closeness > found[1] or (closeness == found[1] >= 0 and weight > found[0]):
            found = (weight, closeness)
    return found


def _closeness(said: str, parameters: Mapping[str, str], name: str) -> int:
    """Return -1 where a range does not cover a media type, and otherwise more the closer it names it."""
    # Answers are UTF-8, whether somebody says so or not. There is none with any other parameter.
    if any(one != "charset" or value.lower() not in {"utf-8", "utf8"} for one, value in parameters.items()):
        return -1
    if said == name:
        return _NAMED + len(parameters)
    if said == f"{name.partition('/')[0]}/*":
        return 1
    return 0 if said == _ANY else -1


def _ranges(accept: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Yield the media ranges of a header: name, parameters and weight."""
    for part in _PART.findall(accept):
        match = _NAME.match(part)
        if match is None:
            continue
        parameters, weight, at, is_good = {}, 1.0, match.end(), True
        while at < len(part):
            found = _PARAMETER.match(part, at)
            if found is None:
                is_good = False
                break
            at = found.end()
            name, value = (found[1] or "").lower(), (found[2] or "").strip('"')
            if name == "q":
                is_good = _WEIGHT.fullmatch(value) is not None
                weight = float(value) if is_good else 0.0
                break
            if name:
                parameters[name] = value
        if is_good:
            yield match[1].lower(), parameters, weight
