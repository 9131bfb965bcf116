"""Requests that are made to keep a server busy: each is to be refused, and quickly.

Every one is small enough to be read, and large in what it asks for: in names, in depth, in how its fragments lead to
each other, or in how often the same is selected. Where it is not about how many tokens there are, it has fewer than who
is signed in may send, so that it comes as far as the limit that it is about. Who is not signed in may send a quarter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product
from string import ascii_letters
from typing import Any, Final

import orjson

DEPTH: Final = 10_000
ALIASES: Final = 10_000
CHEAP: Final = {"query": "{ viewer { role } }"}
"""What somebody else asks meanwhile."""


@dataclass(frozen=True, slots=True)
class Bomb:
    """One of them, and by what it is refused for who is signed in.

    limit: the limit that the error names (`schema/limits.py`); empty where it is no limit that counts.
    message: what the error says then.
    """

    body: bytes
    limit: str = ""
    message: str = ""


def bombs() -> Mapping[str, Bomb]:
    """Return the requests, by what they are."""
    names = islice(("".join(one) for one in product(ascii_letters, repeat=3)), ALIASES)
    overlapping = " ".join("records{nodes{measurements{value}}}" for _ in range(390))
    shown = "name description fields{name description args{name description}}"
    nothing_merges = "The operation takes too long to be looked at."
    deep = orjson.dumps({"query": "query($a: RecordFilter) { records(filter: $a) { nodes { id } } }"})[:-1]
    return {
        # Short names: it has to be within the size of a text, to be counted at all.
        "10,000 aliases": _query(" ".join(f"{name}:a" for name in names), limit="tokens"),
        "1,300 aliases": _query(" ".join(f"a{number}:__typename" for number in range(1300)), limit="aliases"),
        "aliases of a field with fields": _query(
            " ".join(f"a{number}:viewer{{role}}" for number in range(600)), limit="aliases"
        ),
        "selections, 10,000 deep": _text("{a" * DEPTH + "}" * DEPTH, limit="levels of brackets"),
        "selections, 58 deep": _text("{a" * 58 + "}" * 58, limit="levels of fields"),
        "inline fragments, 10,000 deep": _text(
            "{" + "...{" * DEPTH + "__typename" + "}" * (DEPTH + 1), limit="levels of brackets"
        ),
        "lists in the text, 10,000 deep": _query(
            f"node(id:{'[' * DEPTH}{']' * DEPTH}){{id}}", limit="levels of brackets"
        ),
        "objects in the text, 10,000 deep": _query(
            f"records(filter:{'{a:' * DEPTH}1{'}' * DEPTH}){{nodes{{id}}}}", limit="levels of brackets"
        ),
        "a list of 3,900 in the text": _query(f"node(id:[{'1 ' * 3900}]){{id}}", limit="values in one list"),
        "a fragment bomb": _text(
            "{viewer{...F0}} "
            + " ".join(f"fragment F{one} on Viewer{{...F{one + 1} ...F{one + 1}}}" for one in range(150))
            + " fragment F150 on Viewer{role}",
            limit="fields",
        ),
        "circular fragments": _text(
            "{...F0} " + " ".join(f"fragment F{one} on Query{{...F{(one + 1) % 190}}}" for one in range(190)),
            message="Cannot spread fragment 'F0' within itself.",
        ),
        "operations times fragments": _text(
            " ".join(f"query Q{one}{{...F0}}" for one in range(250))
            + " ".join(f" fragment F{one} on Query{{...F{one + 1}}}" for one in range(150))
            + " fragment F150 on Query{__typename}",
            limit="operations and fragments",
            operationName="Q0",
        ),
        "overlapping fields": _query(f"projects{{nodes{{{overlapping}}}}}", message=nothing_merges),
        "overlapping fields in fragments": _text(
            "{"
            + " ".join(f"...F{one}" for one in range(99))
            + "}"
            + " ".join(f" fragment F{one} on Query{{records{{nodes{{id siteCode}}}}}}" for one in range(99)),
            message=nothing_merges,
        ),
        "the same field 3,900 times": _query("viewer{" + "role " * 3900 + "}", limit="fields"),
        "3,900 fields that there are not": _query(
            " ".join(f"abc{number}" for number in range(3900)), limit="fields of its own"
        ),
        "560 directives": _query("__typename " + "@include(if:true)" * 560, limit="directives"),
        "900 variables": _text(
            f"query({' '.join(f'$a{one}:Int' for one in range(900))}){{__typename}}",
            message="Variable '$a0' is never used.",
        ),
        "three pages of 1,000 within each other": _query(
            "projects(first:1000){nodes{records(first:1000){nodes{project{records(first:1000){nodes{id}}}}}}}",
            limit="rows",
        ),
        "100 searches for their numbers": _query(
            " ".join(f'a{number}:records(first:1,search:"zz"){{totalCount}}' for number in range(100)), limit="rows"
        ),
        "20 times what is in the schema": _query(
            " ".join(f"a{number}:__schema{{types{{{shown}}}}}" for number in range(20)), limit="fields of the schema"
        ),
        "the fields of each type, 20 times": _query(
            "__schema{types{" + " ".join(f"a{number}:fields{{type{{ofType{{name}}}}}}" for number in range(20)) + "}}",
            limit="fields of the schema",
        ),
        "a long text": _query('node(id:"' + "\\u0041" * 10_000 + '"){id nope}', message="Cannot query field 'nope'"),
        "lists in a variable, 10,000 deep": Bomb(
            deep + b',"variables":{"a":' + b"[" * DEPTH + b"]" * DEPTH + b"}}", message="The request's body is no JSON"
        ),
        "objects in a variable, 10,000 deep": Bomb(
            deep + b',"variables":{"a":' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"}}",
            message="The request's body is no JSON",
        ),
        "lists in a variable, 900 deep": Bomb(
            deep + b',"variables":{"a":' + b"[" * 900 + b"]" * 900 + b"}}",
            message="Expected a value that is not nested",
        ),
        "a batch of 1,000": Bomb(orjson.dumps([CHEAP] * 1000), message="Expected one operation"),
    }


def _query(selection: str, *, limit: str = "", message: str = "") -> Bomb:
    return _text(f"{{{selection}}}", limit=limit, message=message)


def _text(text: str, *, limit: str = "", message: str = "", **more: Any) -> Bomb:
    return Bomb(orjson.dumps({"query": text, **more}), limit, message)
