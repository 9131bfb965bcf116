"""Exports as GeoJSON (RFC 7946): one feature for each record, with its measurements among the properties."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from models.encryption.codec import Point
from resolvers.export_writer import ExportedRecord, ExportHead


class GeoJsonWriter:
    """Makes a FeatureCollection. Longitude comes first, as the RFC has it; what lies nowhere has no geometry.

    A feature lies where the record exactly is, if that may be read; else at its coordinates, which are those of a
    cell's centre where `location_is_coarse`.
    """

    media_type: ClassVar[str] = "application/geo+json"
    ending: ClassVar[str] = "geojson"
    names_places: ClassVar[bool] = False

    def begin(self, head: ExportHead) -> bytes:
        """Return what opens the collection."""
        self._head = head
        self._is_first = True
        return b'{"type":"FeatureCollection","features":['

    def records(self, batch: Sequence[ExportedRecord]) -> bytes:
        """Return the features of a batch."""
        features = [orjson.dumps(self._feature(one), option=orjson.OPT_UTC_Z, default=_plain) for one in batch]
        start = b"\n" if self._is_first else b",\n"
        self._is_first = self._is_first and not features
        return start + b",\n".join(features) if features else b""

    def end(self) -> bytes:
        """Return what closes the collection."""
        return b"\n]}\n"

    def _feature(self, one: ExportedRecord) -> Mapping[str, Any]:
        values = dict(one.values)
        record_id, project_id = values.pop("id"), values.get("project_id")
        code, name = (None, None) if project_id is None else self._head.projects.get(project_id, (None, None))
        return {
            "type": "Feature",
            "id": str(record_id),
            "geometry": _geometry(values),
            "properties": {"project_code": code, "project_name": name, **values, "measurements": one.measurements},
        }


def _geometry(values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    exact = values.get("exact_location")
    place = exact if isinstance(exact, Point) else Point(values.get("latitude"), values.get("longitude"))
    if place.latitude is None or place.longitude is None:
        return None
    return {"type": "Point", "coordinates": [place.longitude, place.latitude]}


def _plain(value: Any) -> Any:
    if isinstance(value, Point):
        return {"latitude": value.latitude, "longitude": value.longitude}
    return str(value)
