"""The search for canaries finds one whichever way it was written, wherever in a file it stands."""

import base64
import json
import urllib.parse
from collections.abc import Callable
from typing import Final
from uuid import UUID

import pytest
from graphql import GraphQLInputObjectType

from schema.api import build_api
from tests.support.canary import Canaries, Scan, forms
from tests.support.canary_input import guarded, literal_of, with_canaries, wrongly_typed

WRITTEN: Final[dict[str, Callable[[str], bytes]]] = {
    "as it is": str.encode,
    "in JSON": lambda text: json.dumps({"a": text}).encode(),
    "in an address": lambda text: urllib.parse.quote(text).encode(),
    "hexadecimal": lambda text: text.encode().hex().encode(),
    "bytea": lambda text: b"\\x" + text.encode().hex().encode(),
    "HEXADECIMAL": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(text.encode()),
    "UTF-16, little end first": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32-le"),
    "backwards": lambda text: text[::-1].encode(),
    "upper case": lambda text: text.upper().encode(),
    "numbers": lambda text: str(list(text.encode())).encode(),
    "octal": lambda text: "".join(f"\\{one:03o}" for one in text.encode()).encode(),
}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "[abcd"])
@pytest.mark.parametrize("way", WRITTEN)
def test_a_canary_is_found_however_it_was_written(way: str, before: str) -> None:
    canaries = Canaries()
    text = f"{before}{canaries.plant('somewhere')} and more"
    scan = Scan({"canary": forms(canaries.marker)}, canaries)

    scan.content("a file", b"\x00\xff" * 3 + WRITTEN[way](text) + b"\x00")
    scan.content("another", WRITTEN[way](f"{before}nothing of the kind"))

    assert {hit.place for hit in scan.hits} == {"a file"}
    assert (scan.places, scan.size > 0) == (2, True)


def test_a_canary_says_what_it_was_given_as() -> None:
    canaries = Canaries()
    one, other = canaries.plant("a comment"), canaries.plant("a name")
    scan = Scan({"canary": forms(canaries.marker)}, canaries)

    scan.content("a file", f"x{one}y{other}z".encode())

    assert [hit.what for hit in scan.hits] == ["a comment", "a name"]
    assert canaries.within(f"{one}{other}{canaries.marker}") == {one, other}


def test_what_is_guarded_follows_from_the_schema() -> None:
    core = build_api()._schema
    inputs = {name: kind for name, kind in core.type_map.items() if isinstance(kind, GraphQLInputObjectType)}
    canaries = Canaries()

    found = {name: guarded(kind) for name, kind in inputs.items()}
    record = with_canaries(inputs["CreateRecordInput"], {"measurements": [{}], "id": UUID(int=1)}, canaries.plant)

    assert found["SignInInput"] == ["email", "password", "organization", "deviceProof", "clientName"]
    assert found["RefreshSessionInput"][0] == "refreshToken"
    assert set(found["ApproveRecordInput"]) == {"password", "reason"}
    assert found["CreateRecordInput"] == ["collector", "comment"]
    assert found["MeasurementInput"] == ["comment"]
    assert found["RegisterDeviceInput"] == ["serialNumber"]
    assert found["CreateProjectInput"] == []
    assert {"reason"} == set(found["UpdateProjectInput"]) == set(found["BlockDeviceInput"])
    assert set(canaries.planted.values()) == {"collector", "comment", "measurements.comment"}
    assert record["measurements"][0]["comment"] in canaries.planted


def test_an_input_is_written_as_a_literal() -> None:
    kind = build_api()._schema.type_map["RegisterDeviceInput"]

    written = literal_of(kind, {"platform": "IOS", "model": 'a "b"', "serialNumber": ["x"], "other": 1})

    assert written == '{platform: IOS, model: "a \\"b\\"", serialNumber: ["x"], other: 1}'
    assert isinstance(kind, GraphQLInputObjectType)
    assert wrongly_typed(kind.fields["model"].type, "c") == [["c"], {"text": "c"}]
    assert wrongly_typed(kind.fields["platform"].type, "c") == ["c", ["c"]]
