"""GeoJSON as it is read: each feature becomes a site or is rejected with the reason."""

import io
import json
from typing import Any

import pytest

from models.errors import InvalidInputError
from resolvers.site import NewSite
from resolvers.site_geojson import LARGEST_FILE, MOST_FEATURES, MOST_VALUES, SiteFile, SiteMapping, read_sites

POINT = {"type": "Point", "coordinates": [-0.29561, 51.47873]}
EXPONENT = "is a number with an exponent: expected all of its digits, or a text"


def a_feature(**more: Any) -> dict[str, Any]:
    """Return a good feature with other members in it."""
    return {"type": "Feature", "geometry": POINT, "properties": {"code": "W-1"}, **more}


def read(*features: Any, mapping: SiteMapping | None = None, **more: Any) -> SiteFile:
    """Read a collection of these features."""
    collection = {"type": "FeatureCollection", "features": list(features), **more}
    return read_sites(io.BytesIO(json.dumps(collection).encode()), mapping)


def test_points_become_sites_longitude_first() -> None:
    properties = {"code": " W-1 ", "name": "Weir", "kind": "River/Stream", "description": "By the mill.", "owner": 7}
    file = read(a_feature(properties=properties))

    assert file.rejections == []
    assert [one.new for one in file.sites] == [
        NewSite(
            code="W-1",
            name="Weir",
            kind="River/Stream",
            latitude=51.47873,
            longitude=-0.29561,
            description="By the mill.",
        )
    ]


def test_a_height_is_left_out_and_a_place_may_be_missing() -> None:
    high = {"type": "Point", "coordinates": [1, 2, 300]}
    file = read(a_feature(geometry=high), a_feature(geometry=None, properties={"code": "W-2"}))

    assert [(one.new.latitude, one.new.longitude) for one in file.sites] == [(2.0, 1.0), (None, None)]


def test_a_site_without_a_code_has_the_features_id_and_without_a_name_the_code() -> None:
    file = read(a_feature(id=77, properties=None), a_feature(id="X-9", properties={"code": 12, "name": " "}))
    (largest,) = read(a_feature(properties={"code": 2**64 - 1})).sites

    assert [(one.new.code, one.new.name) for one in file.sites] == [("77", "77"), ("12", "12")]
    assert largest.new.code == "18446744073709551615"


@pytest.mark.parametrize(
    "digits",
    ["7.10", "7.0", "-0", "-0.50", "0.00001", "0.1000000000000000055511151231257827", "9007199254740992.0", "1" * 64],
)
def test_a_code_that_is_a_number_has_the_digits_of_the_file(digits: str) -> None:
    more = '"geometry": {"type": "Point", "coordinates": [1.50, 5E1]}'
    for given in (f'"properties": {{"code": {digits}, "x": 1e3, "y": [2.50, -0, 1e999]}}', f'"id": {digits}'):
        content = f'{{"type": "FeatureCollection", "features": [{{"type": "Feature", {more}, {given}}}]}}'

        file = read_sites(io.BytesIO(content.encode()))

        assert [(one.new.code, one.new.name, one.new.latitude, one.new.longitude) for one in file.sites] == [
            (digits, digits, 50.0, 1.5)
        ]


@pytest.mark.parametrize("number", ["1e3", "1E3", "1e-05", "1e+16", "1.5e2", "1e999"])
@pytest.mark.parametrize("member", ["code", "name", "kind", "description"])
def test_a_number_with_an_exponent_has_no_digits_to_keep_and_is_rejected(number: str, member: str) -> None:
    properties = f'{{"code": "W-1", "{member}": {number}}}'
    content = f'{{"type": "FeatureCollection", "features": [{{"type": "Feature", "properties": {properties}}}]}}'

    file = read_sites(io.BytesIO(content.encode()))

    assert [(one.line, one.column, one.reason, one.value) for one in file.rejections] == [(1, member, EXPONENT, number)]


def test_a_place_of_any_number_of_digits_is_read() -> None:
    file = read_sites(
        io.BytesIO(
            b'{"type": "FeatureCollection", "features": ['
            b'{"type": "Feature", "id": 1, "geometry": {"type": "Point", "coordinates": [-0.2956100, 5147873e-5]}},'
            b'{"type": "Feature", "id": 2, "geometry": {"type": "Point", "coordinates": [1e999, 0]}},'
            b'{"type": "Feature", "id": 3, "geometry": {"type": "Point", "coordinates": [' + b"1" * 5000 + b", 0]}}]}"
        )
    )

    assert [(one.new.latitude, one.new.longitude) for one in file.sites] == [(51.47873, -0.29561)]
    assert [(one.line, one.reason) for one in file.rejections] == [
        (2, "has no longitude from -180 to 180 degrees"),
        (3, "has no longitude from -180 to 180 degrees"),
    ]


def test_half_of_a_surrogate_pair_rejects_its_feature_and_no_other() -> None:
    file = read(a_feature(properties={"code": "W-\ud800"}), a_feature(geometry={"type": "\udfff"}), a_feature())

    assert [(one.line, one.column, one.reason, one.value) for one in file.rejections] == [
        (1, "code", "Expected a text without lone surrogates.", "W-?"),
        (2, "geometry", "is no Point", "?"),
    ]
    assert [one.new.code for one in file.sites] == ["W-1"]


def test_properties_of_other_names_are_found_by_a_mapping() -> None:
    mapping = SiteMapping(code="MonitoringLocationIdentifier", name="station", kind="type", description="note")
    properties = {"MonitoringLocationIdentifier": "USGS-1", "station": "Gauge", "type": "Stream", "note": "n"}
    (site,) = read(a_feature(properties=properties), mapping=mapping).sites

    assert (site.new.code, site.new.name, site.new.kind, site.new.description) == ("USGS-1", "Gauge", "Stream", "n")


@pytest.mark.parametrize(
    ("feature", "member", "reason"),
    [
        (7, "type", "is no Feature"),
        ({"type": "Point", "coordinates": [0, 0]}, "type", "is no Feature"),
        (a_feature(geometry={"type": "LineString", "coordinates": [[0, 0], [1, 1]]}), "geometry", "is no Point"),
        (a_feature(geometry={"type": "Polygon", "coordinates": []}), "geometry", "is no Point"),
        (a_feature(geometry={"type": "GeometryCollection", "geometries": [POINT]}), "geometry", "is no Point"),
        (a_feature(geometry=[0, 0]), "geometry", "is no Point"),
        (a_feature(geometry={"type": "Point"}), "geometry", "has no longitude and latitude"),
        (a_feature(geometry={"type": "Point", "coordinates": [1]}), "geometry", "has no longitude and latitude"),
        (
            a_feature(geometry={"type": "Point", "coordinates": [180.5, 0]}),
            "geometry",
            "has no longitude from -180 to 180 degrees",
        ),
        (
            a_feature(geometry={"type": "Point", "coordinates": [51.4, 100]}),
            "geometry",
            "has no latitude from -90 to 90 degrees",
        ),
        (
            a_feature(geometry={"type": "Point", "coordinates": ["1", 2]}),
            "geometry",
            "has no longitude from -180 to 180 degrees",
        ),
        (
            a_feature(geometry={"type": "Point", "coordinates": [True, 2]}),
            "geometry",
            "has no longitude from -180 to 180 degrees",
        ),
        (a_feature(properties=[]), "properties", "are no object"),
        (a_feature(properties={}), "code", "is missing"),
        (a_feature(properties={"code": "  "}), "code", "is missing"),
        (a_feature(properties={"code": ["W"]}), "code", "is no text"),
        (a_feature(properties={"code": True}), "code", "is no text"),
        (a_feature(properties={"code": 1e16}), "code", EXPONENT),
        ({**a_feature(properties={}), "id": 1e-5}, "id", EXPONENT),
        (a_feature(properties={"code": 10**64}), "code", "Expected at most 64 characters, got 65."),
        (a_feature(properties={"code": "x" * 65}), "code", "Expected at most 64 characters, got 65."),
        (a_feature(properties={"code": "W", "kind": "k" * 46}), "kind", "Expected at most 45 characters, got 46."),
        (a_feature(properties={"code": "W\x00"}), "code", "Expected a text without NUL characters."),
    ],
)
def test_a_feature_that_is_no_site_is_rejected_with_its_number_and_the_others_are_read(
    feature: Any, member: str, reason: str
) -> None:
    file = read(a_feature(properties={"code": "A"}), feature, a_feature(properties={"code": "B"}))

    assert [(one.line, one.column, one.reason) for one in file.rejections] == [(2, member, reason)]
    assert [(one.number, one.new.code) for one in file.sites] == [(1, "A"), (3, "B")]
    assert file.features == 3


def test_a_code_that_comes_twice_is_rejected_the_second_time() -> None:
    file = read(a_feature(), a_feature())

    assert [(one.line, one.column, one.reason, one.value) for one in file.rejections] == [
        (2, "code", "has the code of feature 1", "W-1")
    ]


def test_a_rejection_quotes_no_more_than_a_little() -> None:
    (rejection,) = read(a_feature(properties={"code": "x" * 10_000})).rejections

    assert len(rejection.value) == 80


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"code,lat,lon\n",
        b"[]",
        b'"FeatureCollection"',
        b'{"type": "Feature"}',
        b'{"type": "FeatureCollection"}',
        b'{"type": "FeatureCollection", "features": {}}',
        b'{"type": "FeatureCollection", "features": [NaN]}',
        b'{"type": "FeatureCollection", "features": [],',
        b"\xff\xfe",
        b'{"a":' * 100_000,
        b'{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "EPSG:25832"}}}',
        b'{"type": "FeatureCollection", "features": [], "crs": "EPSG:4326"}',
        b'{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": []}}}',
        b'{"type": "FeatureCollection", "features": [Infinity]}',
        b'{"type": "FeatureCollection", "features": [01]}',
        b'{"type": "FeatureCollection", "features": ["\xed\xa0\x80"]}',
    ],
)
def test_what_is_no_collection_in_wgs_84_is_refused_whole(content: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_sites(io.BytesIO(content))


def test_a_file_that_says_that_it_is_in_wgs_84_and_one_with_a_byte_order_mark_are_read() -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    marked = io.BytesIO(b'\xef\xbb\xbf{"type": "FeatureCollection", "features": []}')

    assert len(read(a_feature(), crs=crs).sites) == 1
    assert read_sites(marked).features == 0


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1.5", b'"\xc3\xa9"'])
def test_a_file_of_more_values_than_memory_takes_is_refused_before_it_is_parsed(value: bytes) -> None:
    content = b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"x": ['
    content += (value + b",") * MOST_VALUES + value + b"]}}]}"
    assert len(content) < LARGEST_FILE

    with pytest.raises(InvalidInputError, match="values"):
        read_sites(io.BytesIO(content))


def test_as_many_sites_as_a_file_may_have_are_read() -> None:
    feature = json.dumps(a_feature(properties={"code": "#", "name": "Weir", "kind": "Well", "description": "a, b"}))
    features = ",".join(feature.replace("#", str(number)) for number in range(MOST_FEATURES))
    file = read_sites(io.BytesIO(f'{{"type": "FeatureCollection", "features": [{features}]}}'.encode()))

    assert (file.features, len(file.sites), file.rejections) == (MOST_FEATURES, MOST_FEATURES, [])


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.site_geojson.LARGEST_FILE", 100)

    with pytest.raises(InvalidInputError, match="at most"):
        read(*[a_feature()] * 10)
