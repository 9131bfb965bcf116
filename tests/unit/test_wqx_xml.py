"""The XML of WQX 3.0: valid for whatever records hold, and telling of them what there is to tell."""

import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from lxml import etree

from fieldward.demo.load import RESULTS
from models.encryption.codec import Point
from models.inventory import entity_of
from models.measurement import Measurement
from models.record import Medium, Record
from models.site import Site
from resolvers.csv_moment import DateOrder, moment_of
from resolvers.export_writer import ExportedRecord, ExportedSite, ExportHead
from resolvers.import_preparing import measurement_of, record_of
from resolvers.wqx import WqxFile, read_results
from resolvers.wqx_value import method
from resolvers.wqx_xml import COMMENT, NAMESPACE, WqxXmlWriter
from resolvers.wqx_xml_text import fitted

PROJECT, OTHER = UUID(int=7), UUID(int=8)
WRITTEN: Final = Path(__file__).parent.parent / "data" / "wqx" / "written.xsd"
SCHEMA: Final = etree.XMLSchema(etree.parse(os.environ.get("WQX_SCHEMA", WRITTEN)))
HEAD: Final = ExportHead(
    organization_name="Clearwater & Sons",
    made_at=datetime(2026, 3, 1, tzinfo=UTC),
    author=None,
    record_columns=(),
    measurement_columns=(),
    projects={PROJECT: ("CANAL", "The canal <north>"), OTHER: ("PARKS", "Ponds")},
    organization_slug="clearwater",
)
AT: Final = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def written(head: ExportHead, *batches: Sequence[ExportedRecord]) -> etree._Element:
    """Write records, and return the document, which is valid."""
    writer = WqxXmlWriter()
    parts = [writer.begin(head), *(writer.records(batch) for batch in batches), writer.end()]
    document = etree.fromstring(b"".join(parts), etree.XMLParser(huge_tree=True, resolve_entities=False))
    SCHEMA.assertValid(document)
    return document


def a_record(*measurements: Mapping[str, Any], **values: Any) -> ExportedRecord:
    """Return a record with what every record has, and what is given."""
    given = {"id": UUID(int=1), "project_id": PROJECT, "site_code": "W-1", "collected_at": AT, "medium": Medium.WATER}
    return ExportedRecord({**given, **values}, [{"characteristic": "pH", **one} for one in measurements])


def texts(document: etree._Element, path: str) -> list[str]:
    """Return the texts of the elements at a path of names."""
    steps = "/".join(f"w:{name}" for name in path.split("/"))
    return [str(one.text) for one in document.findall(f".//{steps}", {"w": NAMESPACE})]


def the_file() -> WqxFile:
    """Return the demo's file, as an import reads it."""
    with RESULTS.open(encoding="utf-8-sig", newline="") as stream:
        return read_results(stream, project_id=PROJECT)


def imported() -> Iterator[ExportedRecord]:
    """Yield the records of the demo's file, as an import makes them."""
    for one in the_file().records:
        values = {**record_of(PROJECT, one).values, "id": one.id, "project_id": PROJECT, "location_is_coarse": False}
        yield ExportedRecord(values, [measurement_of(result).values for result in one.measurements])


def sites_of(records: Sequence[ExportedRecord]) -> list[ExportedSite]:
    """Return a site for each code, at a place."""
    codes = dict.fromkeys(one.values["site_code"] for one in records)
    return [ExportedSite(PROJECT, code, f"Site {code}", "Lake", 27.25, -82.5) for code in codes]


def test_all_records_of_a_real_file_are_valid_and_whole() -> None:
    records = list(imported())
    document = written(replace(HEAD, sites=sites_of(records)), records[:100], records[100:])

    results = [one for record in records for one in record.measurements]
    assert len(texts(document, "Activity/ActivityDescription/ActivityIdentifier")) == len(records) == 179
    assert texts(document, "ResultDescription/CharacteristicName") == [one["characteristic"] for one in results]
    assert set(texts(document, "MonitoringLocation/MonitoringLocationIdentity/MonitoringLocationIdentifier")) == set(
        texts(document, "ActivityDescription/MonitoringLocationIdentifier")
    )
    reported = [one["value_reported"] for one in results if one["value_reported"]]
    assert texts(document, "ResultMeasure/ResultMeasureValue") == reported


def test_moments_units_and_limits_of_a_real_file_come_back_as_they_were_reported() -> None:
    document = written(HEAD, list(imported()))
    file = the_file()
    sources = [dict(result.source) for record in file.records for result in record.measurements]

    def told(path: str) -> set[str]:
        return set(texts(document, path))

    def reported(column: str) -> set[str]:
        return {one[column].strip() for one in sources if one.get(column, "").strip()}

    assert told("ActivityStartDate") == reported("ActivityStartDate")
    assert told("ActivityStartTime/Time") == reported("ActivityStartTime/Time")
    assert told("ActivityStartTime/TimeZoneCode") == reported("ActivityStartTime/TimeZoneCode")
    assert told("ActivityTypeCode") == reported("ActivityTypeCode")
    assert told("ResultMeasure/MeasureUnitCode") == reported("ResultMeasure/MeasureUnitCode")
    limits = {Decimal(one) for one in told("DetectionQuantitationLimitMeasure/MeasureValue")}
    assert limits == {Decimal(one) for one in reported("DetectionQuantitationLimitMeasure/MeasureValue")}


@pytest.mark.parametrize("kind", ["SampleCollectionMethod", "ResultAnalyticalMethod"])
def test_methods_of_a_real_file_come_back_in_the_parts_that_were_reported(kind: str) -> None:
    document = written(HEAD, list(imported()))
    parts = ("MethodIdentifierContext", "MethodIdentifier", "MethodName")
    rows = [result.source for record in the_file().records for result in record.measurements]

    told = set(zip(*(texts(document, f"{kind}/{part}") for part in parts), strict=True))
    assert told == {tuple(row[f"{kind}/{part}"] for part in parts) for row in rows if f"{kind}/MethodIdentifier" in row}


def test_an_export_without_records_is_valid() -> None:
    document = written(HEAD)

    assert texts(document, "OrganizationDescription/OrganizationIdentifier") == ["clearwater"]
    assert texts(document, "OrganizationFormalName") == ["Clearwater & Sons"]
    assert texts(document, "Project/ProjectName") == ["The canal <north>", "Ponds"]


def test_a_record_with_nothing_but_what_all_have_is_valid() -> None:
    document = written(HEAD, [a_record({})], [ExportedRecord({"id": 1, "project_id": OTHER, "collected_at": AT}, [])])

    assert texts(document, "ActivityTypeCode") == ["Sample-Routine"] * 2
    assert texts(document, "ActivityMediaName") == ["Water", "Other"]
    assert texts(document, "ActivityStartTime/Time") == ["04:05:06"] * 2
    assert texts(document, "ActivityDescription/ProjectIdentifier") == ["CANAL", "PARKS"]


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ("2026-02-02 23:05:06 EST", ("2026-02-02", "23:05:06", "EST")),
        ("2026-02-03 04:05:06", ("2026-02-03", "04:05:06", "UTC")),
        # What was reported is not what is there now: the moment was changed, or is in words of another kind.
        ("2026-02-02 22:05:06 EST", ("2026-02-03", "04:05:06", "UTC")),
        ("yesterday at noon by the clock", ("2026-02-03", "04:05:06", "UTC")),
        (None, ("2026-02-03", "04:05:06", "UTC")),
    ],
)
def test_a_moment_is_told_as_it_was_reported_where_that_still_holds(
    reported: str | None, expected: tuple[str, str, str]
) -> None:
    document = written(HEAD, [a_record(collected_at_reported=reported)])

    told = [texts(document, path) for path in ("ActivityStartDate", "Time", "TimeZoneCode")]
    assert [one for (one,) in told] == list(expected)


def test_a_day_without_a_time_has_none() -> None:
    midnight = datetime(2026, 2, 3, tzinfo=UTC)
    document = written(HEAD, [a_record(collected_at=midnight, collected_at_reported="2026-02-03")])

    assert texts(document, "ActivityStartDate") == ["2026-02-03"]
    assert texts(document, "ActivityStartTime/Time") == []


@pytest.mark.parametrize("order", DateOrder)
@pytest.mark.parametrize("separator", ["-", "/", "."])
def test_a_date_alone_is_the_day_that_the_import_read_in_whatever_order_it_stood(
    order: DateOrder, separator: str
) -> None:
    day = {"Y": "2020", "M": "06", "D": "5"}
    text = separator.join(day[part] for part in order)
    read = moment_of(text, "", "", order=order, zone=ZoneInfo("America/New_York"), names=("Day", "Time", "Zone"))
    document = written(HEAD, [a_record(collected_at=read.at, collected_at_reported=read.reported)])

    assert read.reported == text
    assert texts(document, "ActivityStartDate") == ["2020-06-05"]
    assert texts(document, "ActivityStartTime/Time") == []


@pytest.mark.parametrize("reported", ["01.06.2020", "2020-06-02", "2020-06-01 00:00", "1 June 2020", "", None])
def test_midnight_is_a_time_unless_that_very_day_was_reported_without_one(reported: str | None) -> None:
    midnight = datetime(2020, 6, 3, tzinfo=UTC)
    document = written(HEAD, [a_record(collected_at=midnight, collected_at_reported=reported)])

    assert texts(document, "ActivityStartDate") == ["2020-06-03"]
    assert texts(document, "ActivityStartTime/Time") == ["00:00:00"]


def test_what_is_too_long_for_its_element_is_told_in_the_comment() -> None:
    measurement = {"unit": "micrograms per litre", "qualifier": "q" * 120, "fraction": "f" * 60, "comment": "Shaken."}
    document = written(HEAD, [a_record(measurement)])

    (comment,) = texts(document, "ResultCommentText")
    assert comment.split("\n") == [
        "Unit: micrograms per litre.",
        f"Qualifier: {'q' * 120}.",
        f"Fraction: {'f' * 60}.",
        "Shaken.",
    ]
    assert texts(document, "ResultMeasure/MeasureUnitCode") == []


def method_of(document: etree._Element, kind: str = "ResultAnalyticalMethod") -> tuple[str, str, str]:
    """Return a method's context, identifier and name, of the first activity or result."""
    context, identifier, name = (
        texts(document, f"{kind}/{part}")[0] for part in ("MethodIdentifierContext", "MethodIdentifier", "MethodName")
    )
    return context, identifier, name


def a_row(**parts: Any) -> str:
    """Return a source row with the parts of an analytical method."""
    return json.dumps({f"ResultAnalyticalMethod/Method{part}": cell for part, cell in parts.items()})


@pytest.mark.parametrize("kind", ["SampleCollectionMethod", "ResultAnalyticalMethod"])
@pytest.mark.parametrize("said", ["Grab sample", "APHA 2510", "YSI 6600: by hand", "Bottle"])
def test_a_method_of_which_no_row_says_the_parts_is_one_of_the_organization_s_own(kind: str, said: str) -> None:
    document = written(HEAD, [a_record({"method": said, "source_row": json.dumps({"Method": said})}, method=said)])

    assert method_of(document, kind) == ("clearwater", said, said)


@pytest.mark.parametrize(
    "row",
    [
        None,
        "",
        "APHA",
        "[1]",
        "\ud800",
        a_row(IdentifierContext="APHA", Identifier=["2510"]),
        # What the row says is not what is there now, or is no identifier in anybody's context.
        a_row(IdentifierContext="APHA", Identifier="2520"),
        a_row(IdentifierContext="APHA 2510"),
        a_row(Identifier="APHA 2510"),
        a_row(Name="APHA 2510"),
    ],
)
def test_a_row_that_says_something_else_gives_a_method_no_parts(row: str | None) -> None:
    document = written(HEAD, [a_record({"method": "APHA 2510", "source_row": row})])

    assert method_of(document) == ("clearwater", "APHA 2510", "APHA 2510")


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ({"IdentifierContext": "APHA", "Identifier": "2510", "Name": "Conductivity"}, "Conductivity"),
        ({"IdentifierContext": " USGS parameter 8 ", "Identifier": "40 b", "Name": "All: of it"}, "All: of it"),
        ({"IdentifierContext": "USGS", "Identifier": "USGS", "Name": "usgs"}, "usgs"),
        ({"IdentifierContext": "APHA", "Identifier": "2510"}, "APHA 2510"),
    ],
)
def test_a_method_has_the_parts_that_make_its_line_in_either_layout(cells: dict[str, str], name: str) -> None:
    context, identifier = cells["IdentifierContext"], cells["Identifier"]
    line = method(context, identifier, cells.get("Name", ""))
    newer = json.dumps({f"ResultAnalyticalMethod_{part}": cell for part, cell in cells.items()})
    document = written(HEAD, [a_record({"method": line, "source_row": row}) for row in (a_row(**cells), newer)])

    for part, told in (("IdentifierContext", context.strip()), ("Identifier", identifier), ("Name", name)):
        assert texts(document, f"ResultAnalyticalMethod/Method{part}") == [told] * 2


def test_a_record_s_method_has_its_parts_from_whichever_of_its_rows_says_them() -> None:
    row = {f"SampleCollectionMethod_{part}": one for part, one in (("IdentifierContext", "NPS"), ("Identifier", "G 1"))}
    results = [{"source_row": one} for one in (None, "{}", json.dumps(row))]
    document = written(HEAD, [a_record(*results, method="NPS G 1")])

    assert method_of(document, "SampleCollectionMethod") == ("NPS", "G 1", "NPS G 1")


@pytest.mark.parametrize(("context", "identifier"), [("APHA", "2" * 36), ("A" * 121, "2510")])
def test_parts_that_are_too_long_are_not_shortened_to_somebody_else_s(context: str, identifier: str) -> None:
    said = f"{context} {identifier}"
    row = a_row(IdentifierContext=context, Identifier=identifier)
    document = written(HEAD, [a_record({"method": said, "source_row": row})])

    assert method_of(document) == ("clearwater", fitted(said, 35), said)


@pytest.mark.parametrize(
    ("unit", "codes", "speciations"),
    [
        ("mg/l as N", ["mg/l"], ["as N"]),
        # The unit said it already, as units of the USGS do.
        ("mg/l as N as N", ["mg/l"], ["as N"]),
        ("mg/l as P as PO4", ["mg/l as P"], ["as PO4"]),
        # A result without a unit, as one that was not detected, keeps what it would be counted as.
        ("as N", [], ["as N"]),
        ("as N as N", [], ["as N"]),
        ("mg/l", ["mg/l"], []),
        ("asN", ["asN"], []),
        ("as", ["as"], []),
        ("as ", ["as "], []),
        ("gas N", ["gas N"], []),
        (None, [], []),
    ],
)
def test_what_a_concentration_is_counted_as_stands_apart_from_its_unit(
    unit: str | None, codes: list[str], speciations: list[str]
) -> None:
    document = written(HEAD, [a_record({"unit": unit, "value": 0.25})])

    assert texts(document, "ResultMeasure/MeasureUnitCode") == codes
    assert texts(document, "MethodSpeciationName") == speciations
    assert texts(document, "ResultMeasureValue") == ["0.25"]


def test_what_a_result_without_a_value_or_a_unit_is_counted_as_is_no_unit() -> None:
    result = the_file().records[0].measurements[0]
    not_detected = replace(result, value=None, value_reported=None, detection_condition="Not Detected", qualifier=None)
    stored = measurement_of(replace(not_detected, unit=None, speciation="as N")).values
    document = written(HEAD, [a_record(stored)])

    assert texts(document, "ResultDescription/MethodSpeciationName") == ["as N"]
    assert texts(document, "ResultDescription/ResultMeasure") == []


@pytest.mark.parametrize("unit", [f"mg/l as {'N' * 18}", f"as {'N' * 18}", f"{'m' * 13} as N"])
def test_a_unit_of_which_one_part_is_too_long_is_told_whole_in_the_comment(unit: str) -> None:
    document = written(HEAD, [a_record({"unit": unit})])

    assert texts(document, "ResultCommentText") == [f"Unit: {unit}."]
    assert texts(document, "ResultMeasure/MeasureUnitCode") == texts(document, "MethodSpeciationName") == []


def test_a_long_comment_is_cut_where_the_element_ends() -> None:
    document = written(HEAD, [a_record(comment="c" * 10_000)])

    (comment,) = texts(document, "ActivityCommentText")
    assert len(comment) == COMMENT
    assert comment.endswith("c…")


def test_sites_of_one_code_in_two_projects_are_two_locations() -> None:
    sites = [ExportedSite(one, "W-1", "Weir", None, 51.5, -0.25) for one in (PROJECT, OTHER)]
    document = written(replace(HEAD, sites=sites), [a_record(), a_record(project_id=OTHER)])

    expected = ["CANAL-W-1", "PARKS-W-1"]
    assert texts(document, "MonitoringLocationIdentity/MonitoringLocationIdentifier") == expected
    assert texts(document, "ActivityDescription/MonitoringLocationIdentifier") == expected
    assert texts(document, "MonitoringLocationTypeName") == ["Unknown"] * 2


def test_an_identifier_that_another_site_has_is_not_given_again() -> None:
    codes = {"W-1": PROJECT, "CANAL-W-1": OTHER}
    sites = [ExportedSite(one, code, "Weir", None, 51.5, -0.25) for code, one in codes.items()]
    sites.insert(1, ExportedSite(OTHER, "W-1", "Weir", None, 52.5, -0.25))
    records = [a_record(project_id=one.project_id, site_code=one.code) for one in sites]
    document = written(replace(HEAD, sites=sites), records)

    identifiers = texts(document, "MonitoringLocationIdentity/MonitoringLocationIdentifier")
    # A code that no other site has is its identifier. It is the same in the next file.
    assert identifiers[1:] == ["PARKS-W-1", "CANAL-W-1"]
    assert identifiers[0].startswith("CANAL-W-1~")
    assert len(set(identifiers)) == 3
    assert texts(document, "ActivityDescription/MonitoringLocationIdentifier") == identifiers
    again = written(replace(HEAD, sites=sites), records)
    assert texts(again, "MonitoringLocationIdentity/MonitoringLocationIdentifier") == identifiers


def test_codes_that_are_too_long_stay_apart() -> None:
    codes = [f"{'S' * 60}{end}" for end in ("A", "B")]
    sites = [ExportedSite(PROJECT, code, "Weir", None, 51.5, -0.25) for code in codes]
    document = written(replace(HEAD, sites=sites), [a_record(site_code=code) for code in codes])

    identifiers = texts(document, "MonitoringLocationIdentity/MonitoringLocationIdentifier")
    assert len(set(identifiers)) == 2
    assert texts(document, "ActivityDescription/MonitoringLocationIdentifier") == identifiers


def test_a_site_without_a_place_is_named_in_the_comment_of_its_activities() -> None:
    head = replace(HEAD, sites=[ExportedSite(PROJECT, "W-1", "Weir")])
    document = written(head, [a_record(comment="Dry.")])

    assert texts(document, "MonitoringLocation/MonitoringLocationIdentity/MonitoringLocationName") == []
    assert texts(document, "ActivityCommentText") == ["Site: W-1.\nDry."]


def test_a_coarse_place_is_told_with_what_it_is_worth_and_an_exact_one_exactly() -> None:
    coarse = {"latitude": 51.45, "longitude": -0.25, "location_is_coarse": True}
    exact = {**coarse, "exact_location": Point(51.47873, -0.29561)}
    document = written(HEAD, [a_record(**coarse), a_record(**exact), a_record(latitude=-0.0, longitude=1e-9)])

    assert texts(document, "ActivityLocation/LatitudeMeasure") == ["51.45", "51.47873", "-0"]
    assert texts(document, "ActivityLocation/LongitudeMeasure") == ["-0.25", "-0.29561", "0.000000001"]
    assert texts(document, "HorizontalAccuracyMeasure/MeasureValue") == ["5600"]
    assert len(texts(document, "ActivityLocationDescriptionText")) == 1


def test_half_a_place_is_none() -> None:
    assert texts(written(HEAD, [a_record(latitude=1.0)]), "ActivityLocation/LatitudeMeasure") == []


@pytest.mark.parametrize("seed", range(40))
def test_whatever_columns_hold_is_valid(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  (it chooses test data)
    alphabet = [
        "a",
        "Z",
        "<",
        ">",
        "&",
        '"',
        "'",
        "]]>",
        "\r",
        "\n",
        "\t",
        "\x01",
        "\x0b",
        "\ud800",
        "\ufffe",
        "ß",
        "🌊",
        " ",
    ]

    def text(longest: int) -> str:
        wanted = chance.choice([1, 2, longest // 2 + 1, longest])
        return "".join(chance.choice(alphabet) for _ in range(wanted))[:longest]

    def values(model: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, column in entity_of(model).columns.items():
            if column.max_length is not None and name not in {"exact_location", "status", "review_meaning"}:
                found[name] = text(min(column.max_length, 10_000)) if chance.random() < 0.8 else None
        return found

    def number() -> float | None:
        return chance.choice([None, 0.0, -1.5, 1e308, 5e-324, 1e22, 123456789.125])

    records, sites = [], []
    for index in range(5):
        place: dict[str, Any] = {
            "latitude": chance.uniform(-90, 90),
            "longitude": chance.choice([-180.0, 180.0, 0.1 + 0.2]),
        }
        own = {**values(Record), **place, "medium": chance.choice([None, *Medium]), "project_id": PROJECT}
        own |= {"site_code": text(64), "collected_at": AT, "id": UUID(int=index)}
        measured = [{**values(Measurement), "value": number(), "detection_limit": number()} for _ in range(3)]
        records.append(ExportedRecord(own, measured))
        site: dict[str, Any] = {k: v for k, v in values(Site).items() if k in {"name", "kind", "description"}}
        sites.append(ExportedSite(PROJECT, own["site_code"], **site, **place))
    head = replace(
        HEAD,
        sites=sites,
        organization_name=text(200),
        organization_slug="",
        projects={PROJECT: (text(64), text(200))},
    )

    document = written(head, records)

    assert len(texts(document, "Activity/ActivityDescription/ActivityIdentifier")) == 5


def test_a_writer_holds_back_nothing() -> None:
    writer = WqxXmlWriter()
    writer.begin(HEAD)

    sizes = {len(writer.records([a_record({})] * 50)) for _ in range(20)}

    assert len(sizes) == 1
    assert vars(writer).keys() == {"_organization", "_projects", "_locations"}
