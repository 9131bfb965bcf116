"""Looking for a word in everything that is stored, with every key that there is; and bringing back what was before.

What is looked through is said by the inventory: each column of each table, and what the trail tells of each.
"""

import base64
import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from models.base import Storage
from models.encryption.column import open_light
from models.encryption.envelope import Cell, key_id_of
from models.encryption.keyring import active_keyring
from models.encryption.piece import PiecePlace, open_piece
from models.errors import SealedError, TamperedError
from models.inventory import Column, entities
from tests.support.world import World, connect

NIL: Final = UUID(int=0)
Found = dict[tuple[str, str], set[str]]
"""By table and column, where the word was: in a row, or in the trail of one."""


async def found_words(world: World, words: Iterable[str]) -> Found:
    """Return the columns in which any of the words stands, opened with every key that is left."""
    sought = [word.casefold() for word in words]
    found: Found = {}
    connection = await connect(world.superuser)
    try:
        for entity in entities():
            rows = await connection.fetch(f'select * from "{entity.name}"')
            for row in rows:
                organization = row.get("organization_id") or NIL
                for column in entity.columns.values():
                    text = await _text_of(column, row[column.name], organization, row["id"], row)
                    if text is not None and any(word in text.casefold() for word in sought):
                        found.setdefault((entity.name, column.name), set()).add("row")
        for name, columns in await _told(connection, sought):
            found.setdefault((name, columns), set()).add("trail")
    finally:
        await connection.close()
    return found


async def _told(connection: asyncpg.Connection, sought: list[str]) -> list[tuple[str, str]]:
    by_name = {(entity.name, name): one for entity in entities() for name, one in entity.columns.items()}
    found = []
    for row in await connection.fetch("select organization_id, entity, entity_id, columns::text from change"):
        for name, values in orjson.loads(row["columns"]).items():
            column = by_name.get((row["entity"], name))
            # An account lies in no organization, wherever its change is told.
            organization = NIL if row["entity"] == "user_account" else row["organization_id"]
            for value in values if column is not None else ():
                stored = _bytes_of(value) if column is not None and column.is_sealed else value
                text = None
                if column is not None:
                    text = await _text_of(column, stored, organization, row["entity_id"], {})
                if text is not None and any(word in text.casefold() for word in sought):
                    found.append((row["entity"], name))
    return found


async def _text_of(column: Column, value: Any, organization: UUID, row_id: UUID, row: Any) -> str | None:
    if value is None:
        return None
    if column.storage is Storage.SEALED_FILE:
        return await _piece_of(value, organization, row)
    if not column.is_sealed:
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)
    try:
        await active_keyring().load_ids([key_id_of(value)])
        text = open_light(value, Cell(organization, column.entity, column.name, row_id))
    except SealedError:
        return None
    except TamperedError:
        # Rows of the tests' own, which nobody sealed.
        return None
    if column.entity == "import_chunk":
        return zlib.decompress(base64.b64decode(text)).decode("utf-8", "replace")
    return text


async def _piece_of(value: bytes, organization: UUID, row: Any) -> str | None:
    key_id = UUID(bytes=value[1:17])
    await active_keyring().load_ids([key_id])
    for is_last in (True, False):
        place = PiecePlace(organization, row["export_id"], row["position"], is_last)
        try:
            content = open_piece(active_keyring().get(key_id), place, value)
        except (SealedError, TamperedError):
            continue
        return content.decode("utf-8", "replace")
    return None


def _bytes_of(value: Any) -> bytes | None:
    # Of what is secret the trail says only that there is something.
    return bytes.fromhex(value.removeprefix("\\x")) if isinstance(value, str) and value.startswith("\\x") else None


class Copy:
    """Everything in both databases as it is at a moment, to be brought back as from a backup."""

    def __init__(self, world: World) -> None:
        self._places = (world.superuser, replace(world.superuser, database=world.keystore.database))
        self._world = world

    async def take(self) -> None:
        """Copy every row."""
        for place in self._places:
            connection = await connect(place)
            await connection.execute("create schema if not exists before")
            for name in await _tables(connection):
                await connection.execute(f'create table before."{name}" as table public."{name}"')
            await connection.close()

    async def bring_back(self) -> None:
        """Put every row back as it was, as a restored backup has it; triggers and all stand as before."""
        for place in self._places:
            connection = await connect(place)
            async with connection.transaction():
                await connection.execute("set local session_replication_role = replica")
                standing = await connection.fetch(
                    "select tgrelid::regclass::text as owner, tgname from pg_trigger join pg_class c on c.oid = tgrelid"
                    " where c.relnamespace = 'public'::regnamespace and not tgisinternal and tgenabled = 'A'"
                )
                for row in standing:
                    await connection.execute(f'alter table {row["owner"]} disable trigger "{row["tgname"]}"')
                for name in await _tables(connection):
                    await connection.execute(f'delete from public."{name}"')
                    await connection.execute(f'insert into public."{name}" select * from before."{name}"')
                for row in standing:
                    await connection.execute(f'alter table {row["owner"]} enable always trigger "{row["tgname"]}"')
            await connection.close()
        self._world.services.keyring.wipe()


async def _tables(connection: asyncpg.Connection) -> list[str]:
    return [
        row[0]
        for row in await connection.fetch(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
        )
    ]
