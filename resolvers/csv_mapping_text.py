"""Mappings as JSON, with names as in the API: how they are kept, and how files bring them."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from models.errors import InvalidInputError
from resolvers.csv_mapping import (
    CsvMapping,
    Delimiter,
    Encoding,
    ImportField,
    MappedColumn,
    MappedConstant,
    ResultColumn,
    require_sound,
)
from resolvers.csv_moment import DateOrder


def mapping_text(mapping: CsvMapping) -> str:
    """Return the mapping in JSON, with names as in the API."""
    return orjson.dumps(
        {
            "delimiter": mapping.delimiter,
            "encoding": mapping.encoding,
            "decimalComma": mapping.decimal_comma,
            "dateOrder": mapping.date_order,
            "timeZone": mapping.time_zone,
            "missing": list(mapping.missing),
            "columns": [{"column": one.column, "field": one.field} for one in mapping.columns],
            "constants": [{"field": one.field, "value": one.value} for one in mapping.constants],
            "results": [
                {
                    "column": one.column,
                    "characteristic": one.characteristic,
                    "unit": one.unit,
                    "fraction": one.fraction,
                    "method": one.method,
                }
                for one in mapping.results
            ],
        }
    ).decode()


def mapping_from(text: str | bytes) -> CsvMapping:
    """Return the mapping that JSON says, as `mapping_text` writes it; what is left out is as it is there by default.

    Raises:
        InvalidInputError: it is no such JSON; or the mapping is not sound (`require_sound`).
    """
    mapping = saved_mapping(text)
    require_sound(mapping, at=("mapping",))
    return mapping


def saved_mapping(text: str | bytes) -> CsvMapping:
    """Return the mapping that JSON says, sound or not: one that was saved may be older than what is demanded now.

    Raises:
        InvalidInputError: it is no such JSON.
    """
    try:
        said: Any = orjson.loads(text)
        if not isinstance(said, dict):
            raise TypeError
        known = {"delimiter", "encoding", "decimalComma", "dateOrder", "timeZone", "missing"}
        if unknown := sorted(set(said) - known - {"columns", "constants", "results"}):
            raise InvalidInputError(f"Expected a mapping, without {unknown[0]!r}.", field=("mapping",))
        options: dict[str, Any] = {}
        if "decimalComma" in said:
            if not isinstance(said["decimalComma"], bool):
                raise TypeError
            options["decimal_comma"] = said["decimalComma"]
        if "timeZone" in said:
            options["time_zone"] = _string(said["timeZone"])
        return CsvMapping(
            columns=[MappedColumn(_string(one["column"]), ImportField(one["field"])) for one in said["columns"]],
            constants=[
                MappedConstant(ImportField(one["field"]), _string(one["value"])) for one in said.get("constants", ())
            ],
            results=[
                ResultColumn(_string(one["column"]), _string(one["characteristic"]), *map(_optional, _rest_of(one)))
                for one in said.get("results", ())
            ],
            delimiter=Delimiter(said.get("delimiter", Delimiter.COMMA)),
            encoding=Encoding(said.get("encoding", Encoding.UTF_8)),
            date_order=DateOrder(said.get("dateOrder", DateOrder.YMD)),
            missing=[_string(one) for one in said.get("missing", ())],
            **options,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidInputError(
            "Expected the JSON of a mapping: columns, constants, results, delimiter, encoding, decimalComma, dateOrder,"
            " timeZone, missing.",
            field=("mapping",),
        ) from None


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _string(value)


def _rest_of(said: Mapping[str, Any]) -> Iterator[Any]:
    return (said.get(name) for name in ("unit", "fraction", "method"))
