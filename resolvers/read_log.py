"""The log of what a request has seen of CONFIDENTIAL and PERSONAL columns."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from uuid import UUID

from auth.action import Action
from auth.errors import Code
from models.audit_entry import AuditEntry, EntryKind, Outcome
from models.audit_writing import SealedEntry
from models.encryption.keyring import active_keyring
from models.inventory import Column, entity_of
from resolvers.entry_writer import EntryWriter
from resolvers.trail import Actor, new_entry


class ReadLog:
    """Which values of CONFIDENTIAL and PERSONAL columns a request has opened, or has found rows by.

    They are kept column by column, row by row. Which entries of the trail it was shown is remembered as well.

    And which it met that did not open in their place, which somebody has to look into.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[Sequence[UUID]]] = {}
        self._broken: dict[tuple[str, str], dict[UUID, None]] = {}
        self._entries: dict[UUID, None] | None = None

    def note(self, column: Column, row_id: UUID) -> None:
        """Remember that the row's value of the column is in the answer."""
        self.note_all(column, (row_id,))

    def note_all(self, column: Column, row_ids: Sequence[UUID]) -> None:
        """Remember that the rows' values of the column are in the answer. Each row is named once."""
        if row_ids:
            self._rows.setdefault((column.entity, column.name), []).append(row_ids)

    def note_search(self, column: Column) -> None:
        """Remember that rows were looked for by a value of the column, whether there are any or not."""
        self._rows.setdefault((column.entity, column.name), [])

    def note_entries(self, entry_ids: Iterable[UUID]) -> None:
        """Remember that the trail was looked at, and that these entries of it are in the answer."""
        self._entries = self._entries or {}
        self._entries.update(dict.fromkeys(entry_ids))

    def note_broken(self, column: Column, row_id: UUID) -> None:
        """Remember that the row's value of the column did not open: it was moved, swapped or changed."""
        self._broken.setdefault((column.entity, column.name), {})[row_id] = None

    async def write(self, actor: Actor, writer: EntryWriter) -> None:
        """Commit one audit entry per column, with the rows, each once, and forget them. So of what was broken, and
        one of all entries of the trail together.

        To be awaited before the answer leaves. Raises if it can't be written: then the answer is withheld.
        """
        if not self._rows and not self._broken and self._entries is None:
            return
        await active_keyring().load(actor.key_owners)
        entries = [
            new_entry(
                actor,
                kind=EntryKind.READ,
                action=Action.FIELD_READ,
                outcome=Outcome.DONE,
                entity=entity,
                field=field,
                # Only a column that was read in several places can have a row twice.
                entity_ids=read[0] if len(read) == 1 else dict.fromkeys(chain.from_iterable(read)),
            )
            for (entity, field), read in sorted(self._rows.items())
        ]
        entries += entries_of_broken(actor, Action.FIELD_READ, self._broken)
        if self._entries is not None:
            entries.append(
                new_entry(
                    actor,
                    kind=EntryKind.READ,
                    action=Action.AUDIT_READ,
                    outcome=Outcome.DONE,
                    entity=entity_of(AuditEntry).name,
                    entity_ids=self._entries,
                )
            )
        await writer.write(actor.organization_id, entries)
        self._rows.clear()
        self._broken.clear()
        self._entries = None


def entries_of_broken(
    actor: Actor, action: Action, broken: Mapping[tuple[str, str], Iterable[UUID]]
) -> list[SealedEntry]:
    """Return an entry of each column with values that did not open in their place, whatever was done with them.

    broken: the rows, by table and column.
    """
    return [
        new_entry(
            actor,
            kind=EntryKind.ATTEMPT,
            action=action,
            outcome=Outcome.FAILED,
            error_code=Code.INTERNAL,
            entity=entity,
            field=field,
            entity_ids=row_ids,
        )
        for (entity, field), row_ids in sorted(broken.items())
    ]
