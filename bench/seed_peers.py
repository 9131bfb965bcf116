"""The peers' data: the same rows in plain tables, and each peer's own copy or view of them."""

import json
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.dataset import Dataset, Device, Measurement, Project, Record
from bench.server import Databases, copy_rows

PEERS: Final = Path(__file__).resolve().parent / "peers"
OWNER: Final = "bench_peer"
DATABASE: Final = "bench_peers"


async def seed_peers(server: Databases, dataset: Dataset) -> None:
    """Make and fill the peers' database."""
    await server.create_role(OWNER)
    await server.create_database(DATABASE, OWNER)
    connection = await asyncpg.connect(**connection_arguments(server, OWNER, DATABASE))
    try:
        await connection.execute((PEERS / "schema.sql").read_text())
        await connection.execute(
            "insert into organization values ($1, 'basin', 'Basin Watch')", dataset.organization_id
        )
        await copy_rows(connection, "project", Project._fields, dataset.all_projects())
        await copy_rows(connection, "device", Device._fields, dataset.all_devices())
        await copy_rows(connection, "record", Record._fields, dataset.all_records())
        await copy_rows(connection, "measurement", Measurement._fields, dataset.all_measurements())
        await connection.execute((PEERS / "indexes.sql").read_text())
    finally:
        await connection.close()
    await server.settle(DATABASE)


def connection_arguments(server: Databases, role: str, database: str) -> dict[str, Any]:
    """Return asyncpg's arguments for a peer's connection."""
    return dict(server.endpoint(role, database).dsn_parameters())


def connection_setting(server: Databases, role: str, database: str) -> str:
    """Return the same as text, for the environment of a peer's process."""
    return json.dumps(connection_arguments(server, role, database))
