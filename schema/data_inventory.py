"""What is stored, how it is protected, who may read it and how long it is kept: for owners, admins and auditors.

The same for every organization: it is what the code declares, and holds no value of anybody's.
"""

from typing import Any

import strawberry

from auth.classification import Classification
from auth.permission import Permission
from auth.role import OrganizationRole, ProjectRole
from models.base import Storage
from models.data_inventory import Instead, Place
from models.encryption.envelope import KeyPurpose, OwnerKind
from schema.field import derived, structure


def _fact(description: str) -> Any:
    return strawberry.field(description=description, metadata=derived())


@structure
@strawberry.type(description="The data key under which a column's values are sealed, or fingerprinted.")
class DataKey:
    owners: list[OwnerKind] = _fact("Whose it is, the first of them that there is.")
    purpose: KeyPurpose = _fact("Which of the owner's keys it is.")
    named_by: str | None = _fact(
        "The column that says which person's or subject's; null where it is the row's organization's, or the"
        " installation's."
    )


@structure
@strawberry.type(description="Which built-in roles may do something.")
class DataReaders:
    organization_roles: list[OrganizationRole] = _fact("The roles in the organization, which count everywhere in it.")
    project_roles: list[ProjectRole] = _fact("The roles in a project, which count there.")
    own: bool = _fact("Whether everyone may with what is about themselves.")


@structure
@strawberry.type(description="A stored column: what it holds, how that is protected, and who may read it.")
class DataColumn:
    name: str = _fact("The column's name in the database.")
    type: str = _fact("What its values are, in words; of an encrypted column, those that are sealed.")
    is_nullable: bool = _fact("Whether there may be no value.")
    classification: Classification = _fact("How sensitive it is.")
    storage: Storage = _fact("How the database holds its values.")
    key: DataKey | None = _fact("The key under which it is so held; null where there is none.")
    is_padded: bool = _fact("Whether the length of short values is hidden.")
    index_column: str | None = _fact("The column beside it that holds its blind index.")
    permission: Permission | None = _fact(
        "What reading takes in the scope of the row, besides seeing it; null where nothing more is taken, or nobody"
        " reads it."
    )
    otherwise: Instead = _fact("What is answered who sees the row and lacks the permission.")
    reads_are_logged: bool = _fact("Whether each reading is an entry of the audit trail.")
    read_by: DataReaders = _fact("Who reads it where they see the row.")


@structure
@strawberry.type(description="A table: what its rows are, where they lie, how long they are kept, and its columns.")
class DataTable:
    name: str = _fact("The table's name in the database.")
    row: str = _fact("What a row is.")
    noun: str = _fact("The noun of the permissions that guard it.")
    place: Place = _fact("Where its rows lie.")
    is_about_a_person: bool = _fact("Whether each row is about one person, who sees it as their own.")
    permission: Permission = _fact("What seeing a row takes, in the scope of the row.")
    seen_by: DataReaders = _fact("Who sees a row.")
    changes_are_recorded: bool = _fact("Whether triggers of the database write each change into the audit trail.")
    kept: str = _fact("How long its rows are kept.")
    deleted_by: list[Permission] = _fact("Who has one of these can delete a row; empty where nobody can.")
    columns: list[DataColumn] = _fact("All of its columns.")
