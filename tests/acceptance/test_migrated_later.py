"""A service that begins before its databases have a schema: it is not ready, and is once they have."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fieldward.cli.environment import embedded_databases
from fieldward.database import migrate
from fieldward.embedded import EmbeddedPostgres
from fieldward.settings import Settings
from tests.conftest import FAST
from tests.support.server import database_url, start_process, wait_until_ready


@pytest.fixture
def empty() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL with the databases and roles, and nothing in them."""
    # Not below pytest's own directories: another run may close those, and then the database's user is shut out.
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    with EmbeddedPostgres(directory / "postgres", settings=FAST) as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)


def test_it_waits_for_the_schema_and_says_what_to_do(empty: EmbeddedPostgres, tmp_path: Path) -> None:
    urls = {
        "FIELDWARD_DATABASE_URL": database_url(empty.service("fieldward")),
        "FIELDWARD_KEYSTORE_URL": database_url(empty.service("fieldward_keys")),
    }
    data = tmp_path / "data"
    data.mkdir(mode=0o700)

    one = start_process(data, urls, tmp_path / "serve.log")
    try:
        wait_until_ready(one, timeout_s=60)
        with httpx.Client(base_url=one.url) as client:
            assert client.get("/health/ready").status_code == 503
            refused = client.post("/graphql", json={"query": "{ viewer { id } }"})
            assert refused.status_code == 503
            assert refused.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert "run `fieldward migrate`" in one.log.read_text()

            settings = Settings(data_directory=data, password_cost="test")
            asyncio.run(migrate(embedded_databases(empty, owner=True), settings))

            deadline = time.monotonic() + 60
            while client.get("/health/ready").status_code != 200 and time.monotonic() < deadline:
                time.sleep(0.2)
            assert client.get("/health/ready").status_code == 200
            answered = client.post("/graphql", json={"query": "{ viewer { id } }"})
            assert answered.status_code != 503
    finally:
        code = one.stop()

    assert code == 0
    assert "Traceback" not in one.log.read_text()
