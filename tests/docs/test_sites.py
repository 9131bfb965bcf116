"""What `docs/sites.md` shows: its queries are answered, and its file is imported."""

import io
import json
import re
from pathlib import Path
from typing import Final

from resolvers.site_geojson import LARGEST_FILE, MOST_FEATURES, MOST_VALUES, read_sites
from schema.measurement_series import DEFAULT_WIDTH, MOST_POINTS, MOST_SERIES, WIDEST
from tests.model.test_site_import import bring
from tests.support.world import World

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "sites.md").read_text()
QUERIES: Final = re.findall(r"^```graphql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILE: Final = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]


async def test_the_queries_of_the_page_find_the_site_of_its_file_and_a_series(world: World) -> None:
    assert len(QUERIES) == 2
    report = await bring(world, io.BytesIO(FILE.encode()))
    client = await world.client("viewer")

    sites = (await client.run(QUERIES[0])).data["sites"]
    series = (await client.run(QUERIES[1])).data["measurementSeries"]

    assert (report.sites_created, report.rejections) == (1, [])
    (feature,) = json.loads(FILE)["features"]
    assert sites["totalCount"] == 1
    assert sites["nodes"][0]["code"] == feature["properties"]["code"]
    assert [sites["nodes"][0]["longitude"], sites["nodes"][0]["latitude"]] == feature["geometry"]["coordinates"]
    assert series
    assert all(one["points"] for one in series)


def test_the_file_of_the_page_has_nothing_that_is_rejected() -> None:
    assert read_sites(io.BytesIO(FILE.encode())).rejections == []


def test_the_page_names_the_limits_that_are_kept() -> None:
    words = " ".join(PAGE.split())
    assert f"({DEFAULT_WIDTH} unless said otherwise, {WIDEST} at the most)" in words
    assert f"at most {MOST_SERIES} series and {MOST_POINTS:,} points" in words
    size = f"{LARGEST_FILE // 1024 // 1024} MiB, {MOST_FEATURES:,} features, and {MOST_VALUES:,} brackets and commas"
    assert f"A file has at most {size}." in words
