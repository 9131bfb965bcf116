"""The data inventory as a page: `docs/data-inventory.md`."""

from collections.abc import Sequence
from typing import Final

from fieldward.cli.markdown import lean
from models.base import Storage
from models.data_inventory import ROLES, DataColumn, DataTable, Instead, KeyFact, Place, data_inventory
from models.encryption.envelope import KeyPurpose, OwnerKind

READ, MASKED, NOTHING = "r", "m", "·"

_INTRODUCTION: Final = """# Data inventory

Printed by `fieldward inventory` from the declarations that the service runs by; `make inventory` renews it, and a test
holds it to the code. The query `dataInventory` answers the same to who has `access:read`.

What is stored: every table and column of the database, how it is protected, who may read it, and how long it is kept.

## How to read it

**Classification** is how sensitive a column is; all else follows from it. PUBLIC may leave the organization, INTERNAL
is ordinary project data, CONFIDENTIAL what clients and people say in confidence, PERSONAL what names or describes a
person, SECRET what no answer ever holds.

**Stored**: "plain" is readable in the database. "Encrypted" is ciphertext there, and in the trail and in backups of
both, under a data key whose owner is named. "Padded" hides the length of short values. A "blind index" is a keyed
fingerprint that shows which values are equal, and nothing else without its key.

**Takes** is the permission besides seeing the row, which takes what is said above the table, both in the scope of the
row. "Logged" means that each reading is an entry of the audit trail before the answer leaves.

**Roles**: `r` reads, `m` sees a pseudonym in its place, and a dot is neither: the value is null with a `FORBIDDEN`, or
the row is not there at all. A role in the organization counts for everything in it, one in a project for that project
alone, and `own` is what everyone may do with what is about themselves. Roles of an organization's own are made of the
same permissions. A program reads what its maker may, cut down to its scope. Which field shows which column is in
[access](access.md); some columns no field shows.

**Kept** says what happens to rows. Those whose kind a period can be set for are deleted once it is over, and until one
is set are kept ([retention](retention.md)). Where changes are recorded, the trail keeps every earlier value in the
table `change`, until the trail's own period is over where one is set: encrypted ones as ciphertext, guarded as the
column is, and of SECRET ones only that they changed. So a row that is deleted is gone from its table and not from the
trail. What is encrypted is readable as long as its data key is there: `fieldward erase` destroys the keys of a person,
of a collector's name or of an organization, as an [erasure](erasure.md) that was asked for does, and with them every
copy, in rows, trail and backups of the data. Backups of the keystore, which hold those keys, are kept for 30 days at
most ([backups](backup.md))."""

_BESIDE: Final = """## Beside these tables

The wrapped data keys lie in a database of their own, the keystore, in the table `wrapped_key`: for each key whose it
is, what it is for, when it was made and retired, how often it has sealed, and the key itself, encrypted by the
key-encryption key of its provider. No answer of the API holds any of it. Nothing deletes its rows; of a destroyed key
the row stays without the key. The table `destruction` says which keys were destroyed, when, and for whose erasure, and
so does the file `destructions.jsonl`: both hold ids alone, and are kept for good.

Both databases hold a table `tortoise_migrations`: which migrations were applied, and when. The signing key, the
key-encryption key, passwords of the embedded database and its files are in the data directory; see
[operations](operations.md#the-data-directory)."""

_PLACES: Final = {
    Place.INSTALLATION: "outside the organizations, each of which sees its own people",
    Place.ORGANIZATION: "in the organization",
    Place.PROJECT: "in a project",
}

_HOLDS: Final = {
    Storage.PLAIN: "plain",
    Storage.ENCRYPTED: "encrypted",
    Storage.BLIND_INDEX: "blind index",
    Storage.PSEUDONYM: "keyed fingerprint for the pseudonym",
    Storage.CONTENT_DIGEST: "keyed digest of what the row was created from",
    Storage.TOKEN_DIGEST: "SHA-256 of a random token",
    Storage.PASSWORD_HASH: "Argon2id hash",
    Storage.SEALED_FILE: "sealed under the file's own key",
}

_OWNERS: Final = {
    OwnerKind.SYSTEM: "the installation's",
    OwnerKind.ORGANIZATION: "the organization's",
    OwnerKind.PERSON: "the person's",
    OwnerKind.SUBJECT: "the name's own",
    OwnerKind.EXPORT: "the export's own",
    OwnerKind.IMPORT: "the file's own",
    OwnerKind.ERASURE: "the request's own",
}

_PURPOSES: Final = {
    KeyPurpose.VALUES: "",
    KeyPurpose.INDEX: " index",
    KeyPurpose.ATTRIBUTION: " attribution",
    KeyPurpose.CONTENT: " content",
}


def inventory_page() -> str:
    """Return `docs/data-inventory.md`: every table and column. Ends with a newline."""
    return "\n\n".join([_INTRODUCTION, *map(_section, data_inventory()), _BESIDE]) + "\n"


def role_cells(table: DataTable, column: DataColumn) -> list[str]:
    """Return what a column of the table has in the cell of each of `ROLES`."""
    read, seen = column.read_by.roles, table.seen_by.roles
    otherwise = MASKED if column.otherwise is Instead.PSEUDONYM else NOTHING
    return [READ if role in read else otherwise if role in seen else NOTHING for role in ROLES]


def _section(table: DataTable) -> str:
    place = _PLACES[table.place] + ("; each is about one person" if table.is_about_a_person else "")
    deleted = f" Deleted by who has {_one_of(table.deleted_by)}." if table.deleted_by else ""
    facts = [
        f"- Rows lie {place}. Seeing one takes `{table.permission}`.",
        f"- {'Triggers write' if table.changes_are_recorded else 'No trigger writes'} each change into the trail.",
        f"- Kept: {table.kept}{deleted}",
    ]
    return "\n\n".join([f"## {table.name}", table.row, "\n".join(facts), _columns(table)])


def _columns(table: DataTable) -> str:
    head = ["Column", "Type", "Classification", "Stored", "Takes", "Logged", *ROLES]
    rows = [head, [*("---" for _ in head[: -len(ROLES)]), *(":-:" for _ in ROLES)]]
    rows += [
        [
            f"`{column.name}`",
            column.type + (", or nothing" if column.is_nullable else ""),
            str(column.classification),
            _stored(column),
            f"`{column.permission}`" if column.permission else "",
            "yes" if column.reads_are_logged else "",
            *role_cells(table, column),
        ]
        for column in table.columns
    ]
    return lean(rows)


def _stored(column: DataColumn) -> str:
    parts = [_HOLDS[column.storage]]
    if column.key is not None:
        parts.append(f"under {_key(column.key)}")
    said = " ".join(parts)
    if column.is_padded:
        said += ", padded"
    return f"{said}; blind index in `{column.index_column}`" if column.index_column else said


def _key(key: KeyFact) -> str:
    first, *others = (_OWNERS[owner] for owner in key.owners)
    purpose = _PURPOSES[key.purpose]
    named = f" (`{key.named_by}`)" if key.named_by else ""
    return f"{first}{purpose} key{named}" + "".join(f", else {other}" for other in others)


def _one_of(names: Sequence[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} or {last}" if most else last
