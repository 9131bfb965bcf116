"""The layouts of result files that are read: how rows are found in a file, and what each row says.

A layout is all that the rest of an import knows of a format. The two of the Water Quality Portal say the same things
under other names: the newer one (WQX 3, 181 columns) is read through the names of the older one, so that the same
result has the same ids whichever of the two it came in.

Standard: the portal's result profiles; the columns of the newer one are listed, with their source, in
`tests/data/wqx/wqx3-result-columns.csv`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, TextIO

from resolvers.wqx_row import FileColumns, Result, parse
from resolvers.wqx_table import OPTIONAL, CellError, Column, TableRow, read_table, require_columns


class Layout(Protocol):
    """How files of one format are read. `encoding` is what their bytes are text in."""

    @property
    def encoding(self) -> str:
        """The name of the encoding, as Python knows it."""

    @property
    def columns(self) -> FileColumns:
        """The file's columns, by what they say."""

    def rows(self, stream: TextIO) -> Iterator[TableRow]:
        """Yield the rows below the header, each good or with its fault.

        Raises:
            WqxFormatError: the header is not this format's.
        """

    def key_of(self, cells: Mapping[str, str]) -> str:
        """Return what rows of one activity have in common, and others hardly ever."""

    def results(self, row: TableRow) -> Sequence[Result]:
        """Return what a row that has cells measured; several where columns are measurements.

        Raises:
            CellError: for the first fault, which names the file's own column.
        """


@dataclass(frozen=True, slots=True)
class WqxLayout:
    """A layout of the portal. names: of each column of the older layout, this one's."""

    names: Mapping[Column, str]
    optional: frozenset[str]
    encoding: str = "utf-8"

    @property
    def columns(self) -> FileColumns:
        """The file's columns, by what they say. Of a place it depends on the row."""
        return FileColumns(
            {name: self.names[column] for name, column in _VISIT.items()},
            {name: self.names[column] for name, column in _RESULT.items()},
        )

    def rows(self, stream: TextIO) -> Iterator[TableRow]:
        """Yield the rows below the header."""
        return read_table(stream, self._require_header)

    def key_of(self, cells: Mapping[str, str]) -> str:
        """Return the organization and the activity."""
        organization, activity = self.names[Column.ORGANIZATION], self.names[Column.ACTIVITY]
        return f"{cells[organization].strip()}\0{cells[activity].strip()}"

    def results(self, row: TableRow) -> Sequence[Result]:
        """Return the one result of a row."""
        if self.names is _SAME:
            return (parse(row.line, row.cells),)
        cells = {str(column): row.cells.get(name, "") for column, name in self.names.items()}
        try:
            return (parse(row.line, cells, read_from=row.cells, names=self.names),)
        except CellError as error:
            raise self._renamed(error) from None

    def _renamed(self, error: CellError) -> CellError:
        column = self.names[Column(error.column)] if error.column in _COLUMNS else error.column
        return CellError(column, error.reason, error.value)

    def _require_header(self, header: Sequence[str]) -> None:
        require_columns(header, wanted=tuple(self.names.values()), optional=self.optional)


_VISIT: Final[Mapping[str, Column]] = MappingProxyType(
    {
        "site_code": Column.SITE,
        "date": Column.DATE,
        "time": Column.TIME,
        "site_name": Column.SITE_NAME,
        "activity_type": Column.ACTIVITY_TYPE,
        "medium": Column.MEDIUM,
        "method": Column.SAMPLING_METHOD,
        "collector": Column.CONDUCTING_ORGANIZATION,
        "comment": Column.ACTIVITY_COMMENT,
    }
)
_RESULT: Final[Mapping[str, Column]] = MappingProxyType(
    {"method": Column.ANALYTICAL_METHOD, "comment": Column.RESULT_COMMENT}
)
_COLUMNS: Final = frozenset(map(str, Column))
_SAME: Final[Mapping[Column, str]] = MappingProxyType({column: column.value for column in Column})

LEGACY: Final = WqxLayout(_SAME, frozenset(map(str, OPTIONAL)))

_WQX3_NAMES: Final[Mapping[Column, str]] = MappingProxyType(
    {
        Column.ORGANIZATION: "Org_Identifier",
        Column.ORGANIZATION_NAME: "Org_FormalName",
        Column.ACTIVITY: "Activity_ActivityIdentifier",
        Column.ACTIVITY_TYPE: "Activity_TypeCode",
        Column.MEDIUM: "Activity_Media",
        Column.DATE: "Activity_StartDate",
        Column.TIME: "Activity_StartTime",
        Column.ZONE: "Activity_StartTimeZone",
        Column.CONDUCTING_ORGANIZATION: "Activity_ConductingOrganization",
        Column.SITE: "Location_Identifier",
        Column.SITE_NAME: "Location_Name",
        Column.LATITUDE: "ActivityLocation_Latitude",
        Column.LONGITUDE: "ActivityLocation_Longitude",
        Column.SITE_LATITUDE: "Location_Latitude",
        Column.SITE_LONGITUDE: "Location_Longitude",
        Column.DATUM: "ActivityLocation_HorzCoordReferenceSystemDatum",
        Column.SITE_DATUM: "Location_HorzCoordReferenceSystemDatum",
        **{
            column: str(column)
            for column in (
                Column.STANDARD_LATITUDE,
                Column.STANDARD_LONGITUDE,
                Column.STANDARD_DATUM,
                Column.SITE_STANDARD_LATITUDE,
                Column.SITE_STANDARD_LONGITUDE,
                Column.SITE_STANDARD_DATUM,
            )
        },
        Column.ACTIVITY_COMMENT: "Activity_Comment",
        Column.SAMPLING_METHOD: "SampleCollectionMethod_Identifier",
        Column.SAMPLING_METHOD_CONTEXT: "SampleCollectionMethod_IdentifierContext",
        Column.SAMPLING_METHOD_NAME: "SampleCollectionMethod_Name",
        Column.DETECTION_CONDITION: "Result_ResultDetectionCondition",
        Column.CHARACTERISTIC: "Result_Characteristic",
        Column.FRACTION: "Result_SampleFraction",
        Column.VALUE: "Result_Measure",
        Column.UNIT: "Result_MeasureUnit",
        Column.QUALIFIER: "Result_MeasureQualifierCode",
        Column.RESULT_STATUS: "Result_MeasureStatusIdentifier",
        Column.STATISTICAL_BASE: "Result_StatisticalBase",
        Column.VALUE_TYPE: "Result_MeasureType",
        Column.RESULT_COMMENT: "DataQuality_ResultComment",
        Column.ANALYTICAL_METHOD: "ResultAnalyticalMethod_Identifier",
        Column.ANALYTICAL_METHOD_CONTEXT: "ResultAnalyticalMethod_IdentifierContext",
        Column.ANALYTICAL_METHOD_NAME: "ResultAnalyticalMethod_Name",
        # The newer layout has places for two limits. The first is the one that is read; both are in the source row.
        Column.LIMIT_TYPE: "DetectionLimit_TypeA",
        Column.LIMIT: "DetectionLimit_MeasureA",
        Column.LIMIT_UNIT: "DetectionLimit_MeasureUnitA",
        Column.SPECIATION: "Result_MethodSpeciation",
        Column.RESULT_DEPTH: "ResultDepthHeight_Measure",
        Column.RESULT_DEPTH_UNIT: "ResultDepthHeight_MeasureUnit",
        Column.RESULT_DEPTH_REFERENCE: "ResultDepthHeight_AltitudeReferencePoint",
        Column.TAXON: "ResultBiological_Taxon",
        Column.TISSUE: "ResultBiological_SampleTissueAnatomy",
        Column.WEIGHT_BASIS: "Result_WeightBasis",
        Column.TIME_BASIS: "Result_TimeBasis",
        Column.TEMPERATURE_BASIS: "Result_MeasureTemperatureBasis",
        Column.PARTICLE_SIZE_BASIS: "Result_MeasureParticleSizeBasis",
    }
)

WQX3: Final = WqxLayout(_WQX3_NAMES, frozenset(_WQX3_NAMES[column] for column in OPTIONAL))
