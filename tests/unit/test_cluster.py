"""How the servers of a database are named, and what becomes of one that is not there."""

import asyncio
import time
from typing import Any

import pytest

from fieldward.database import Databases, DatabaseUrlError, credentials_of
from models.cluster import Cluster, NoPrimaryError, NoStandbyError, Server
from tests.support.server import free_port

ONE = "postgres://app:secret@db1:5433/fieldward"


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        (ONE, [Server("db1", 5433)]),
        ("postgresql://app:secret@db1/fieldward", [Server("db1", 5432)]),
        (
            "postgres://app:secret@db1:5433,db2:5434,db3/fieldward",
            [Server("db1", 5433), Server("db2", 5434), Server("db3", 5432)],
        ),
        ("postgres://app:secret@[::1]:5433,[fe80::2]/fieldward", [Server("::1", 5433), Server("fe80::2", 5432)]),
        ("postgres://app:secret@/fieldward?host=/run/a,/run/b", [Server("/run/a", 5432), Server("/run/b", 5432)]),
        (
            "postgres://app:secret@db1,db2/fieldward?target_session_attrs=read-write",
            [Server("db1", 5432), Server("db2", 5432)],
        ),
    ],
)
def test_a_url_names_the_servers(url: str, servers: list[Server]) -> None:
    assert Cluster(credentials_of(url)).servers == servers


@pytest.mark.parametrize("attributes", ["any", "standby", "prefer-standby", "read-only", "nonsense"])
def test_a_url_that_asks_for_a_server_that_takes_no_writes_is_refused(attributes: str) -> None:
    with pytest.raises(DatabaseUrlError, match="read-write") as refused:
        credentials_of(f"{ONE}?target_session_attrs={attributes}")

    assert "secret" not in str(refused.value)


def test_nothing_that_is_shown_of_a_cluster_holds_a_password() -> None:
    databases = Databases(credentials_of(ONE), credentials_of(ONE))

    assert "secret" not in repr(databases) + repr(databases.main_cluster)


async def test_of_several_servers_that_are_not_there_it_is_said_at_once_that_none_takes_writes() -> None:
    cluster = _nowhere()

    began = time.monotonic()
    with pytest.raises(NoPrimaryError):
        await cluster.connect()
    with pytest.raises(NoStandbyError):
        await cluster.connect_standby()

    assert time.monotonic() - began < 3


async def test_one_server_that_lets_nobody_in_holds_nobody_up_for_long() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cluster = Cluster(credentials_of(f"postgres://app:secret@127.0.0.1:{port},127.0.0.1:{free_port()}/fieldward"))

    began = time.monotonic()
    with pytest.raises(NoPrimaryError):
        await cluster.connect(ssl=False)

    assert 1.5 < time.monotonic() - began < 10
    server.close()


async def test_a_primary_that_is_known_to_be_lost_is_looked_for_by_nobody_but_the_watch() -> None:
    tried: list[Any] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tried.append(1)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cluster = Cluster(credentials_of(f"postgres://app:secret@127.0.0.1:{port},127.0.0.1:{free_port()}/fieldward"))
    cluster.lose()

    with pytest.raises(NoPrimaryError):
        await cluster.connect(ssl=False)
    assert tried == []
    with pytest.raises(NoPrimaryError):
        await cluster.look(ssl=False)
    assert tried != []
    server.close()


def _nowhere() -> Cluster:
    hosts = ",".join(f"127.0.0.1:{free_port()}" for _ in range(2))
    return Cluster(credentials_of(f"postgres://app:secret@{hosts}/fieldward"))
