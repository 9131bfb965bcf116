"""Requests that are made to keep a server busy: each is to be refused, and quickly.

Every one is small enough to be read, and large in what it asks for: in names, in depth, in how its fragments lead to
each other, or in how often the same is selected.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

DEPTH: Final = 10_000
ALIASES: Final = 10_000
CHEAP: Final = {"query": "{ viewer { role } }"}
"""What somebody else asks meanwhile."""


def bombs() -> Mapping[str, bytes]:
    """Return the bodies of the requests, by what they are."""
    deep = {"query": "query($a: RecordFilter) { records(filter: $a) { nodes { id } } }"}
    asked: dict[str, Any] = {
        "10,000 aliases": _query(" ".join(f"a{number}:__typename" for number in range(ALIASES // 4))),
        "aliases of a field with fields": _query(" ".join(f"a{number}:viewer{{role}}" for number in range(600))),
        "selections, 10,000 deep": {"query": "{a" * DEPTH + "}" * DEPTH},
        "inline fragments, 10,000 deep": {"query": "{" + "...{" * (DEPTH // 2) + "__typename" + "}" * (DEPTH // 2 + 1)},
        "lists in the text, 10,000 deep": _query(f"node(id:{'[' * DEPTH}{']' * DEPTH}){{id}}"),
        "objects in the text, 10,000 deep": _query(f"records(filter:{'{a:' * DEPTH}1{'}' * DEPTH}){{nodes{{id}}}}"),
        "a list of 3,900 in the text": _query(f"node(id:[{'1 ' * 3900}]){{id}}"),
        "a fragment bomb": {
            "query": "{...F0} "
            + " ".join(f"fragment F{one} on Query{{...F{one + 1} ...F{one + 1}}}" for one in range(150))
            + " fragment F150 on Query{__typename}"
        },
        "circular fragments": {
            "query": "{...F0} " + " ".join(f"fragment F{one} on Query{{...F{(one + 1) % 190}}}" for one in range(190))
        },
        "operations times fragments": {
            "query": " ".join(f"query Q{one}{{...F0}}" for one in range(250))
            + " ".join(f" fragment F{one} on Query{{...F{one + 1}}}" for one in range(150))
            + " fragment F150 on Query{__typename}",
            "operationName": "Q0",
        },
        "overlapping fields": _query(" ".join("records{nodes{measurements{value}}}" for _ in range(400))),
        "overlapping fields in fragments": {
            "query": "{"
            + " ".join(f"...F{one}" for one in range(99))
            + "}"
            + " ".join(f" fragment F{one} on Query{{records{{nodes{{id siteCode}}}}}}" for one in range(99))
        },
        "the same field 3,900 times": _query(" __typename" * 3900),
        "3,900 fields that there are not": _query(" ".join(f"abc{number}" for number in range(3900))),
        "600 directives": _query("__typename " + "@include(if:true)" * 600),
        "900 variables": {"query": f"query({' '.join(f'$a{one}:Int' for one in range(900))}){{__typename}}"},
        "three pages of 1,000 within each other": _query(
            "projects(first:1000){nodes{records(first:1000){nodes{project{records(first:1000){nodes{id}}}}}}}"
        ),
        "a long text": _query('node(id:"' + "\\u0041" * 10_000 + '"){id nope}'),
    }
    written = {name: orjson.dumps(body) for name, body in asked.items()}
    nested = b"[" * DEPTH + b"]" * DEPTH
    objects = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
    head = orjson.dumps(deep)[:-1] + b',"variables":{"a":'
    written["lists in a variable, 10,000 deep"] = head + nested + b"}}"
    written["objects in a variable, 10,000 deep"] = head + objects + b"}}"
    written["lists in a variable, 900 deep"] = head + b"[" * 900 + b"]" * 900 + b"}}"
    written["a batch of 1,000"] = orjson.dumps([CHEAP] * 1000)
    return written


def _query(selection: str) -> dict[str, str]:
    return {"query": f"{{{selection}}}"}
