"""Sites as GeoJSON has them (RFC 7946): a collection of features, each a point with properties.

Nothing is guessed: a feature that is no site is rejected with its number and the reason, and the others are read. A
number keeps its digits, as it can be a code. The file is read whole, and is bounded for that.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Final, NoReturn

import orjson

from models.errors import InvalidInputError
from models.inventory import entity_of
from models.site import Site
from resolvers.checking import Path, require_fit, require_storable
from resolvers.site import NewSite
from resolvers.wqx import Rejection

LARGEST_FILE: Final = 64 * 1024 * 1024
"""Bytes of a file: some hundred thousand sites with what is said of them."""
MOST_FEATURES: Final = 200_000
MOST_VALUES: Final = 4_000_000
"""Brackets and commas of a file. Each stands for a value in memory, which takes up to fifty times its place there."""

_WGS_84: Final = frozenset(
    {"urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:OGC::CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326"}
)
"""The names by which files from before RFC 7946 say what it demands: longitude and latitude, WGS 84."""
_QUOTED: Final = 80
_SHORT: Final = 19
"""Characters of a whole number that is read as one. Python reads none of thousands of digits, and long ones slowly."""
LONGEST_PROPERTY: Final = 200
"""Characters of a property's name."""


@dataclass(frozen=True, slots=True)
class SiteMapping:
    """In which properties of a feature a site's code, name, kind and description are."""

    code: str = "code"
    name: str = "name"
    kind: str = "kind"
    description: str = "description"


def require_sound(mapping: SiteMapping, *, at: Path) -> None:
    """Raise `InvalidInputError` where a property's name is none, or too long."""
    for name, value in asdict(mapping).items():
        if not 1 <= len(value) <= LONGEST_PROPERTY:
            raise InvalidInputError(f"Expected a name of 1 to {LONGEST_PROPERTY} characters.", field=(*at, name))
        require_storable(value, at=(*at, name))


def site_mapping_text(mapping: SiteMapping) -> str:
    """Return the mapping in JSON, with names as in the API."""
    return orjson.dumps(mapping).decode()


def site_mapping_from(text: str | None) -> SiteMapping:
    """Return the mapping of a JSON that `site_mapping_text` wrote; without one, the properties have its own names."""
    return SiteMapping(**orjson.loads(text)) if text else SiteMapping()


@dataclass(frozen=True, slots=True)
class ReportedSite:
    """A site of a file. number: of its feature, from 1."""

    number: int
    new: NewSite


@dataclass(frozen=True, slots=True)
class SiteFile:
    """What is in a file: `features == len(sites) + len(rejections)`. A rejection's line is its feature's number."""

    features: int
    sites: list[ReportedSite] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


class _FeatureError(Exception):
    """The feature is no site. Says which of its members is at fault, why, and what was there."""

    def __init__(self, member: str, reason: str, value: Any = None) -> None:
        super().__init__(reason)
        self.member, self.reason = member, reason
        # Half of a surrogate pair can't be told to anybody.
        self.value = "" if value is None else str(value)[:_QUOTED].encode(errors="replace").decode()


class _Digits(str):
    """A number as the file has it, where Python would write it otherwise: 7.10, 1e3, 0.00001."""

    __slots__ = ()


def read_sites(stream: BinaryIO, mapping: SiteMapping | None = None) -> SiteFile:
    """Return the sites of a file.

    mapping: where the properties are; by default in those of the same names.

    Raises:
        InvalidInputError: the file is no collection of features in WGS 84, or too large.
    """
    mapping = mapping or SiteMapping()
    features = _features(stream)
    file = SiteFile(features=len(features))
    numbers: dict[str, int] = {}
    for number, feature in enumerate(features, 1):
        try:
            new = _site(feature, mapping)
            if new.code in numbers:
                raise _FeatureError(mapping.code, f"has the code of feature {numbers[new.code]}", new.code)
        except _FeatureError as error:
            file.rejections.append(Rejection(number, error.member, error.reason, error.value))
        else:
            numbers[new.code] = number
            file.sites.append(ReportedSite(number, new))
    return file


def _features(stream: BinaryIO) -> list[Any]:
    content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise InvalidInputError(f"Expected a file of at most {LARGEST_FILE // 1024 // 1024} MiB.", field=("file",))
    if sum(map(content.count, (b"{", b"[", b","))) > MOST_VALUES:
        raise InvalidInputError(f"Expected at most {MOST_VALUES} values in a file.", field=("file",))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError("Expected a text in UTF-8.", field=("file",)) from error
    # Not both of them beside what is made of them.
    del content
    collection = _parsed(text)
    if not isinstance(collection, dict) or collection.get("type") != "FeatureCollection":
        raise InvalidInputError("Expected a GeoJSON FeatureCollection.", field=("file",))
    features = collection.get("features")
    if not isinstance(features, list):
        raise InvalidInputError("Expected a list of features.", field=("file", "features"))
    if len(features) > MOST_FEATURES:
        raise InvalidInputError(f"Expected at most {MOST_FEATURES} features.", field=("file", "features"))
    _require_wgs_84(collection.get("crs"))
    return features


def _parsed(text: str) -> Any:
    """Return what a file says. Of its numbers, those that Python would write otherwise keep their text: `_Digits`."""
    try:
        return json.loads(text, parse_float=_fraction, parse_int=_integer, parse_constant=_refuse)
    except RecursionError as error:
        raise InvalidInputError("Expected JSON that is nested less deeply.", field=("file",)) from error
    except ValueError as error:
        raise InvalidInputError(f"Expected JSON, but {error}.", field=("file",)) from error


def _fraction(text: str) -> float | _Digits:
    value = float(text)
    # Most are coordinates, which a float holds in half the memory.
    return value if repr(value) == text else _Digits(text)


def _integer(text: str) -> int | _Digits:
    return int(text) if len(text) <= _SHORT and text != "-0" else _Digits(text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of it")


def _require_wgs_84(reference: Any) -> None:
    """Raise `InvalidInputError` where a file from before RFC 7946 says that its places are in another system."""
    if reference is None:
        return
    properties = reference.get("properties") if isinstance(reference, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or name not in _WGS_84:
        raise InvalidInputError("Expected places in WGS 84 (RFC 7946, section 4).", field=("file", "crs"))


def _site(feature: Any, mapping: SiteMapping) -> NewSite:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise _FeatureError("type", "is no Feature")
    given = feature.get("properties")
    if given is not None and not isinstance(given, dict):
        raise _FeatureError("properties", "are no object")
    properties: Mapping[str, Any] = given or {}
    longitude, latitude = _point(feature.get("geometry"))
    code = _text(properties, mapping.code) or _identity(feature.get("id"))
    if code is None:
        raise _FeatureError(mapping.code, "is missing")
    new = NewSite(
        code=code,
        name=_text(properties, mapping.name) or code,
        kind=_text(properties, mapping.kind),
        latitude=latitude,
        longitude=longitude,
        description=_text(properties, mapping.description),
    )
    try:
        require_fit(entity_of(Site), new.values, at=())
    except InvalidInputError as error:
        column = str(error.field[-1]) if error.field else ""
        member = getattr(mapping, column, "geometry")
        raise _FeatureError(member, error.message, getattr(new, column, None)) from error
    return new


def _point(geometry: Any) -> tuple[float | None, float | None]:
    """Return longitude and latitude; nothing of a feature that is not located (RFC 7946, section 3.2)."""
    if geometry is None:
        return None, None
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        raise _FeatureError("geometry", "is no Point", kind)
    place = geometry.get("coordinates")
    if not isinstance(place, list) or len(place) < 2:
        raise _FeatureError("geometry", "has no longitude and latitude", place)
    longitude, latitude = place[:2]
    for degrees, most, name in ((longitude, 180, "longitude"), (latitude, 90, "latitude")):
        is_number = isinstance(degrees, int | float | _Digits) and not isinstance(degrees, bool)
        if not is_number or abs(float(degrees)) > most:
            raise _FeatureError("geometry", f"has no {name} from -{most} to {most} degrees", degrees)
    return float(longitude), float(latitude)


def _text(properties: Mapping[str, Any], name: str) -> str | None:
    value = properties.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _FeatureError(name, "is no text", value)
    text = str(value)
    if isinstance(value, float | _Digits) and "e" in text.lower():
        raise _FeatureError(name, "is a number with an exponent: expected all of its digits, or a text", value)
    return text.strip() or None


def _identity(value: Any) -> str | None:
    """Return a feature's own id as a text (RFC 7946, section 3.2): a string or a number."""
    return _text({"id": value}, "id")
