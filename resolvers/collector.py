"""Who collected a record: a name, under a key of its own.

A collector need be no user of ours. Whoever has the same name in an organization is taken for the same person: the
name's blind index is whose key it is sealed with, so that destroying that key makes the name unreadable wherever it was
ever written. The pseudonym comes from a second key of the name: it stays when the first is replaced, and once both are
destroyed nobody can tell from the name which pseudonym was its.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from models.encryption.blind_index import blind_index
from models.encryption.envelope import KeyPurpose
from models.encryption.keyring import active_keyring
from models.encryption.owner import subject_owner
from models.inventory import entity_of
from models.record import Record
from models.searching import index_of

COLLECTOR = entity_of(Record).columns["collector"]


async def load_collectors(organization_id: UUID, names: Iterable[str | None]) -> None:
    """Bring the keys of these names into memory; of a name that is new they are made.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    indexes = {index_of(COLLECTOR, organization_id, name) for name in names if name is not None}
    await active_keyring().load(
        [
            subject_owner(organization_id, index, purpose)
            for index in sorted(indexes)
            for purpose in (KeyPurpose.VALUES, KeyPurpose.INDEX)
        ]
    )


def collector_columns(organization_id: UUID, name: str | None) -> dict[str, Any]:
    """Return what is stored beside a collector's name. Its keys are in memory.

    Raises:
        SealedError: they are not.
    """
    if name is None:
        return {"collector_index": None, "collector_pseudonym": None}
    index = index_of(COLLECTOR, organization_id, name)
    own = active_keyring().current(subject_owner(organization_id, index, KeyPurpose.INDEX))
    return {
        "collector_index": index,
        "collector_pseudonym": blind_index(
            own,
            table=COLLECTOR.entity,
            column="collector_pseudonym",
            organization_id=organization_id,
            text="pseudonym",
        ),
    }
