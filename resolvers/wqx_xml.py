"""Records as a submission of the Water Quality Exchange, version 3.0: what the US Water Quality Portal collects.

The XML is valid against the schema that the Exchange Network publishes (`http://www.exchangenetwork.net/schema/wqx/3`),
and keeps every value in the words that it has here: nothing is turned into a word of WQX's lists that was not one. What
is too long for its element is told in the comment beside it, or, where it is a comment itself, cut. Sites, projects and
activities that can't be named by their codes are named by the beginning of those and a digest. A method is somebody
else's only where the row that it was read from says so, and whoever exports may read that row.

A site without a place can't be written as a monitoring location: its activities name it in their comment. Memory is
bounded by the number of sites.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar, Final
from uuid import UUID

from resolvers.csv_moment import is_date_alone
from resolvers.export_writer import ExportedRecord, ExportedSite, ExportHead
from resolvers.wqx_method import MethodParts, methods_in
from resolvers.wqx_table import CellError, Column
from resolvers.wqx_value import moment
from resolvers.wqx_xml_text import element, fitted, in_decimals, inside, marked, shortened

NAMESPACE: Final = "http://www.exchangenetwork.net/schema/wqx/3"

IDENTIFIER: Final = 55
"""Characters of the identifiers of projects, monitoring locations and activities."""
ORGANIZATION_IDENTIFIER: Final = 35
METHOD_IDENTIFIER: Final = 35
METHOD_CONTEXT: Final = 120
COMMENT: Final = 4000
DATUM: Final = "WGS84"
UNKNOWN: Final = "Unknown"
"""What WQX's lists have where a value is demanded and not known."""
ROUTINE: Final = "Sample-Routine"
"""What an activity is of which nothing else is said."""
UNSPECIFIED_LIMIT: Final = "Unspecified"
HALF_A_CELL_M: Final = 5600
"""Metres from the centre of a coarse location's cell to its northern and southern edge."""
COARSE: Final = "The centre of a cell of 0.1 by 0.1 degrees in which the place lies."

# Some providers say it twice, in the unit and beside it.
_COUNTED: Final = re.compile(r"(?:(?P<unit>.*?) )??(?P<speciation>as (?:(?! as ).)+)(?: (?P=speciation))?", re.DOTALL)
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")


class WqxXmlWriter:
    """Makes the XML of one submission. Records without their id, their project or their moment are none.

    Raises:
        KeyError: a record lacks one of these.
    """

    media_type: ClassVar[str] = "application/xml"
    ending: ClassVar[str] = "xml"
    names_places: ClassVar[bool] = True

    def __init__(self) -> None:
        self._organization = ""
        self._projects: dict[UUID, str] = {}
        self._locations: dict[tuple[UUID, str], str] = {}

    def begin(self, head: ExportHead) -> bytes:
        """Return the organization, its projects and the monitoring locations."""
        self._organization = fitted(head.organization_slug or head.organization_name, ORGANIZATION_IDENTIFIER)
        self._projects = {one: fitted(code, IDENTIFIER) for one, (code, _) in head.projects.items()}
        described = element("OrganizationIdentifier", self._organization) + element(
            "OrganizationFormalName", shortened(head.organization_name, 255)
        )
        parts = [
            f'<?xml version="1.0" encoding="UTF-8"?>\n<WQX xmlns="{NAMESPACE}"><Organization>',
            inside("OrganizationDescription", described),
        ]
        for project_id, (_, name) in head.projects.items():
            named = element("ProjectIdentifier", self._projects[project_id])
            parts.append("\n" + inside("Project", named + element("ProjectName", shortened(name, 512))))
        self._identify(head.sites)
        parts += self._monitoring_locations(head.sites)
        return "".join(parts).encode()

    def records(self, batch: Sequence[ExportedRecord]) -> bytes:
        """Return an activity for each record, with a result for each measurement."""
        return "".join(self._activity(one) for one in batch).encode()

    def end(self) -> bytes:
        """Return the end of the organization."""
        return b"\n</Organization></WQX>\n"

    def _identify(self, sites: Sequence[ExportedSite]) -> None:
        """Give each site that has a place an identifier of its own.

        In WQX a code is one of its kind in the organization, here in the project. Codes that no other site has come
        first, and stay what they are.
        """
        count = Counter(site.code for site in sites)
        taken: set[str] = set()
        placed = [one for one in sites if one.latitude is not None and one.longitude is not None]
        for site in sorted(placed, key=lambda one: count[one.code] > 1):
            code = site.code if count[site.code] == 1 else f"{self._project(site.project_id)}-{site.code}"
            identifier, by = fitted(code, IDENTIFIER), f"{site.project_id} {site.code}"
            while identifier in taken:
                identifier, by = marked(code, IDENTIFIER, by), f"{by} "
            taken.add(identifier)
            self._locations[site.project_id, site.code] = identifier

    def _monitoring_locations(self, sites: Sequence[ExportedSite]) -> Iterator[str]:
        for site in sites:
            if site.latitude is None or site.longitude is None:
                continue
            identity = [
                element("MonitoringLocationIdentifier", self._locations[site.project_id, site.code]),
                element("MonitoringLocationName", shortened(site.name or site.code, 255)),
                element("MonitoringLocationTypeName", site.kind or UNKNOWN),
                element("MonitoringLocationDescriptionText", shortened(site.description, COMMENT)),
            ]
            yield "\n" + inside(
                "MonitoringLocation",
                inside("MonitoringLocationIdentity", "".join(identity))
                + inside("MonitoringLocationGeospatial", _place(site.latitude, site.longitude, coarse=site.is_coarse)),
            )

    def _project(self, project_id: UUID) -> str:
        """Return what a project is called: its id where who exports reads its records and not the project."""
        return self._projects.get(project_id) or str(project_id)

    def _activity(self, record: ExportedRecord) -> str:
        values, told = record.values, []
        location = self._locations.get((values["project_id"], str(values.get("site_code"))))
        if location is None and values.get("site_code"):
            told.append(f"Site: {values['site_code']}.")
        kind = _code(told, "Activity type", values.get("activity_type"), 70)
        described = [
            element("ActivityIdentifier", str(values["id"])),
            element("ActivityTypeCode", kind or ROUTINE),
            element("ActivityMediaName", _medium(values.get("medium"))),
            *_when(values["collected_at"], values.get("collected_at_reported")),
            element("ProjectIdentifier", self._project(values["project_id"])),
            element("MonitoringLocationIdentifier", location),
            element("ActivityCommentText", _comment(told, values.get("comment"))),
        ]
        method = values.get("method")
        said = [methods_in(one.get("source_row")) for one in record.measurements]
        sampling = (one.get((Column.SAMPLING_METHOD, str(method))) for one in said)
        results = (
            self._result(one, by.get((Column.ANALYTICAL_METHOD, str(one.get("method")))))
            for one, by in zip(record.measurements, said, strict=True)
        )
        return "\n" + inside(
            "Activity",
            inside("ActivityDescription", "".join(described))
            + _activity_location(values)
            + self._sample(method, next(filter(None, sampling), None))
            + "".join(results),
        )

    def _sample(self, method: str | None, parts: MethodParts | None) -> str:
        if not method:
            return ""
        collected = inside("SampleCollectionMethod", self._method(method, parts))
        return inside("SampleDescription", collected + element("SampleCollectionEquipmentName", UNKNOWN))

    def _method(self, method: str, parts: MethodParts | None) -> str:
        """Return a method: in its parts where they are known and fit, otherwise whole, as the organization's own.

        Somebody else's identifier that was shortened would be none of theirs.
        """
        if parts and len(parts.context) <= METHOD_CONTEXT and len(parts.identifier) <= METHOD_IDENTIFIER:
            context, identifier, name = parts.context, parts.identifier, parts.name or method
        else:
            context, identifier, name = self._organization, fitted(method, METHOD_IDENTIFIER), method
        return (
            element("MethodIdentifier", identifier)
            + element("MethodIdentifierContext", context)
            + element("MethodName", shortened(name, 250))
        )

    def _result(self, values: Mapping[str, Any], parts: MethodParts | None) -> str:
        told: list[str] = []
        unit, speciation = _counted(values.get("unit"))
        if len(unit or "") > 12 or len(speciation or "") > 20:
            unit, speciation = _code(told, "Unit", values.get("unit"), 0), None
        measure = [
            element("ResultMeasureValue", _value(values)),
            element("MeasureUnitCode", unit),
            element("MeasureQualifierCode", _code(told, "Qualifier", values.get("qualifier"), 35)),
        ]
        condition = _code(told, "Detection condition", values.get("detection_condition"), 35)
        fraction = _code(told, "Fraction", values.get("fraction"), 25)
        status = _code(told, "Status", values.get("result_status"), 12)
        value_type = _code(told, "Value type", values.get("value_type"), 20)
        limit = _limit(told, values)
        described = [
            element("ResultDetectionConditionText", condition),
            element("CharacteristicName", values.get("characteristic")),
            element("MethodSpeciationName", speciation),
            element("ResultSampleFractionText", fraction),
            inside("ResultMeasure", "".join(measure)),
            element("ResultStatusIdentifier", status),
            element("ResultValueTypeName", value_type),
            element("ResultCommentText", _comment(told, values.get("comment"))),
        ]
        method = values.get("method")
        analysed = inside("ResultAnalyticalMethod", self._method(method, parts)) if method else ""
        return inside("Result", inside("ResultDescription", "".join(described)) + analysed + limit)


def _counted(unit: str | None) -> tuple[str | None, str | None]:
    """Return a unit, and what it is counted as, which an import puts behind it, `mg/l as N`, or alone, `as N`."""
    match = _COUNTED.fullmatch(unit or "")
    return (match["unit"], match["speciation"]) if match else (unit, None)


def _medium(medium: Any) -> str:
    """Return the medium in WQX's words, which are ours but for their capitals."""
    return str(medium).capitalize() if medium is not None else "Other"


def _when(at: datetime, reported: str | None) -> Iterator[str]:
    """Yield the day and the time of an activity: as they were reported, where that is known; otherwise in UTC."""
    day, clock, zone = _reported(at, reported)
    yield element("ActivityStartDate", day.isoformat())
    if clock is not None:
        yield inside("ActivityStartTime", element("Time", clock) + element("TimeZoneCode", zone))


def _reported(at: datetime, reported: str | None) -> tuple[date, str | None, str]:
    utc = at.astimezone(UTC)
    if reported and utc.time() == time() and is_date_alone(reported, utc.date()):
        # Imports keep a date without a time as midnight UTC. In which order it stood, they knew, and the text does not.
        return utc.date(), None, "UTC"
    parts = (reported or "").split(" ")
    if len(parts) == 3:
        day, clock, zone = parts
        try:
            said = moment(day, clock, zone)
        except CellError:
            said = None
        match = _CLOCK.fullmatch(clock)
        if said is not None and said.at == at and match is not None:
            return said.day, "{:0>2}:{}:{}".format(*(part or "00" for part in match.groups())), zone.upper()
    return utc.date(), utc.time().isoformat(), "UTC"


def _activity_location(values: Mapping[str, Any]) -> str:
    """Return where a record was made: the very place where the export has that, otherwise as its plain columns say."""
    exact = values.get("exact_location")
    latitude, longitude = (
        (exact.latitude, exact.longitude) if exact else (values.get("latitude"), values.get("longitude"))
    )
    if latitude is None or longitude is None:
        return ""
    is_coarse = bool(values.get("location_is_coarse")) and not exact
    described = element("ActivityLocationDescriptionText", COARSE if is_coarse else None)
    return inside("ActivityLocation", _place(latitude, longitude, coarse=is_coarse) + described)


def _place(latitude: float, longitude: float, *, coarse: bool) -> str:
    accuracy = element("MeasureValue", str(HALF_A_CELL_M)) + element("MeasureUnitCode", "m")
    return (
        element("LatitudeMeasure", in_decimals(latitude, 10))
        + element("LongitudeMeasure", in_decimals(longitude, 11))
        + (inside("HorizontalAccuracyMeasure", accuracy) if coarse else "")
        + element("HorizontalCollectionMethodName", UNKNOWN)
        + element("HorizontalCoordinateReferenceSystemDatumName", DATUM)
    )


def _value(values: Mapping[str, Any]) -> str | None:
    reported, value = values.get("value_reported"), values.get("value")
    return reported if reported is not None else repr(value) if value is not None else None


def _limit(told: list[str], values: Mapping[str, Any]) -> str:
    """Return the limit of detection or quantitation of a result."""
    limit = values.get("detection_limit")
    kind = _code(told, "Limit", values.get("detection_limit_type"), 35)
    unit = _code(told, "Unit of the limit", values.get("detection_limit_unit"), 12)
    if limit is None:
        told += [f"Limit: {kind}."] if kind else []
        return ""
    measure = element("MeasureValue", repr(limit)) + element("MeasureUnitCode", unit or "None")
    return inside(
        "ResultLabInformation",
        inside(
            "ResultDetectionQuantitationLimit",
            element("DetectionQuantitationLimitTypeName", kind or UNSPECIFIED_LIMIT)
            + inside("DetectionQuantitationLimitMeasure", measure),
        ),
    )


def _code(told: list[str], name: str, value: str | None, longest: int) -> str | None:
    """Return a word that stands for something, if it fits; otherwise it is told whole, in the comment."""
    if value is None or len(value) <= longest:
        return value
    told.append(f"{name}: {value}.")
    return None


def _comment(told: Sequence[str], comment: str | None) -> str | None:
    return shortened("\n".join([*told, *([comment] if comment else [])]) or None, COMMENT)
