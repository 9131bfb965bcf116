"""Pieces of files: they open in their place, under their key, and nowhere else."""

from dataclasses import replace
from uuid import uuid4

import pytest

from models.encryption.envelope import DataKey, KeyPurpose, OwnerKind
from models.encryption.owner import export_owner
from models.encryption.piece import PiecePlace, open_piece, seal_piece
from models.errors import SealedError, TamperedError
from tests.support.export import exporting, make, work
from tests.support.mutation import mutate
from tests.support.world import World

PLACE = PiecePlace(uuid4(), uuid4(), 3, is_last=False)


def a_key() -> DataKey:
    """Return a key of a file."""
    return DataKey(uuid4(), export_owner(PLACE.organization_id, PLACE.file_id), bytes(range(32)))


def test_a_piece_opens_in_its_place() -> None:
    key = a_key()
    for content in (b"", b"\x00", bytes(1000)):
        assert open_piece(key, PLACE, seal_piece(key, PLACE, content)) == content


@pytest.mark.parametrize(
    "place",
    [
        replace(PLACE, organization_id=uuid4()),
        replace(PLACE, file_id=uuid4()),
        replace(PLACE, position=4),
        replace(PLACE, is_last=True),
    ],
)
def test_a_moved_piece_does_not_open(place: PiecePlace) -> None:
    key = a_key()
    with pytest.raises(TamperedError):
        open_piece(key, place, seal_piece(key, PLACE, b"content"))


def test_no_byte_of_a_piece_can_be_changed() -> None:
    key = a_key()
    sealed = seal_piece(key, PLACE, b"content")
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(TamperedError):
            open_piece(key, PLACE, changed)
    for length in range(len(sealed)):
        with pytest.raises(TamperedError):
            open_piece(key, PLACE, sealed[:length])


def test_another_key_opens_nothing_and_neither_does_one_that_was_wiped() -> None:
    key = a_key()
    sealed = seal_piece(key, PLACE, b"content")
    with pytest.raises(TamperedError):
        open_piece(a_key(), PLACE, sealed)
    key.wipe()
    with pytest.raises(SealedError):
        open_piece(key, PLACE, sealed)


async def test_the_key_of_a_file_is_not_replaced_by_the_schedule(world: World) -> None:
    made = await make(world, await world.client("manager"))
    current = await world.services.keystore.current_of_all()
    overdue = await world.services.keystore.overdue(oldest_days=0, most_seals=0)

    assert made.content
    # What was asked for lies under another key of the export's, which is replaced as that of any value.
    for owners in ({key.owner for key in current}, {key.owner for key in overdue}):
        assert {owner.purpose for owner in owners if owner.kind is OwnerKind.EXPORT} == {KeyPurpose.VALUES}


async def test_a_file_of_many_pieces_is_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.export_file.PIECE_SIZE", 1000)
    manager = await world.client("manager")

    made = await make(world, manager, batch=11)

    assert await world.value("select count(*) from data_export_piece") == -(-len(made.content) // 1000)
    assert await world.value("select max(position) + 1 from data_export_piece") == -(-len(made.content) // 1000)
    answer = await mutate(manager, "deleteExport", {"id": made.shown["id"]})
    assert answer.data["deleteExport"]["errors"] == []
    await work(exporting(world))
    assert await world.value("select count(*) from data_export_piece") == 0
