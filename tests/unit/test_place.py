"""The grid of coarse places, and how a place is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encryption.codec import Place, Point
from models.place import CELLS_IN_A_DEGREE, cell_latitude, cell_longitude, cell_of

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)
HALF = 0.5 / CELLS_IN_A_DEGREE


@pytest.mark.parametrize(
    ("degrees", "centre"),
    [
        (27.94218, 27.95),
        (28.0, 28.05),
        (0.3, 0.35),
        (0.29999999999999993, 0.25),
        (0.0, 0.05),
        (-0.0, 0.05),
        (5e-324, 0.05),
        (-5e-324, -0.05),
        (-0.1, -0.05),
        (-82.45837, -82.45),
        (89.99, 89.95),
        (90.0, 89.95),
        (-90.0, -89.95),
    ],
)
def test_a_latitude_becomes_the_centre_of_its_cell(degrees: float, centre: float) -> None:
    assert cell_latitude(degrees) == centre


@pytest.mark.parametrize(
    ("degrees", "centre"), [(179.99, 179.95), (180.0, -179.95), (-180.0, -179.95), (-179.95, -179.95), (12.34, 12.35)]
)
def test_a_longitude_becomes_the_centre_of_its_cell_and_the_antimeridian_is_one_line(
    degrees: float, centre: float
) -> None:
    assert cell_longitude(degrees) == centre


@given(LATITUDES, LONGITUDES)
def test_a_cell_holds_its_place_is_its_own_cell_and_lies_on_the_globe(latitude: float, longitude: float) -> None:
    cell = cell_of(Point(latitude, longitude))

    assert cell.latitude is not None
    assert cell.longitude is not None
    assert cell_of(cell) == cell
    assert abs(cell.latitude - latitude) <= HALF + 1e-9
    assert abs(cell.longitude - longitude) <= HALF + 1e-9 or longitude == 180
    assert -90 < cell.latitude < 90
    assert -180 < cell.longitude < 180


@given(st.none() | LATITUDES, st.none() | LONGITUDES)
def test_a_place_comes_back_as_it_was_written(latitude: float | None, longitude: float | None) -> None:
    place = Point(latitude, longitude)
    if not place:
        with pytest.raises(ValueError, match="Expected"):
            Place.encode(place)
        return

    text = Place.encode(place)

    assert Place.decode(text) == place
    assert len(text) <= 64


def test_a_place_is_written_as_a_geojson_position_with_null_for_what_is_not_known() -> None:
    assert Place.encode(Point(27.94218, -82.45837)) == "[-82.45837,27.94218]"
    assert Place.encode(Point(27.94218, None)) == "[null,27.94218]"
