"""Imports of files: what is to be read into which project, the file itself while it is needed, and what became of it.

The file lies in chunks that are sealed one by one, and is forgotten once it was imported. What became of its rows is
kept in blocks of many rows each, so that a file of a million rows costs some thousand of them.
"""

from enum import StrEnum
from typing import Any, cast

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, TenantModel, ward
from models.encryption.column import EncryptedField

CHUNK_BYTES = 1024 * 1024
"""Bytes of a file in one chunk, at the most."""
LONGEST_CHUNK = 2 * CHUNK_BYTES
"""Characters of a chunk as it is sealed: compressed, and in base64."""
LONGEST_MAPPING = 100_000
"""Characters of a mapping as it is stored."""
LONGEST_FATES = 4_000_000
"""Characters of what is said of the rows of one block."""


class ImportKind(StrEnum):
    """WQX_CSV: results of the Water Quality Portal in the older layout. WQX3_CSV: in the newer one. CSV: any table, by
    a mapping of its own. GEOJSON_SITES: the sites of the project, a row for each feature.
    """

    WQX_CSV = "WQX_CSV"
    WQX3_CSV = "WQX3_CSV"
    CSV = "CSV"
    GEOJSON_SITES = "GEOJSON_SITES"


class ImportStatus(StrEnum):
    """OPEN: the file is not there yet. UPLOADED: it is. RUNNING: rows are read, to be written or, in a dry run, only
    judged. CHECKED: a dry run is through. DONE: all rows were imported or rejected. FAILED: it came to an end before
    that, and can be started again. CANCELLED and EXPIRED: the file is not there any more.
    """

    OPEN = "OPEN"
    UPLOADED = "UPLOADED"
    RUNNING = "RUNNING"
    CHECKED = "CHECKED"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class RowFate(StrEnum):
    """What became of a row, or would in a dry run. CREATED: something of it was new. KNOWN: all of it was there."""

    CREATED = "CREATED"
    KNOWN = "KNOWN"
    REJECTED = "REJECTED"
    BLANK = "BLANK"


_WITH_IT = "Until the file is imported, the import is cancelled, or a week has passed since it was last touched."


class DataImport(TenantModel):
    """One file that is, or was, imported into a project.

    `size` is the file's bytes as they were announced. `run` counts the starts; `is_dry_run` says of the last whether it
    was one. Who started it is `started_by_id` or `started_by_program_id`, with what a program's token was cut down to
    in `scope`, and on which device: it runs by what they may at each batch. `mapping` is the mapping as it was when the
    import was made. The counts are of rows, at the end of the last run; while it runs, its blocks have them.
    """

    noun = "data_import"
    kept = Kept("For good: what was imported by whom, and what of it was not.")
    placement = Placement(project_column="project_id")

    project_id = ward(C.INTERNAL, fields.UUIDField())
    kind = ward(C.INTERNAL, fields.CharEnumField(ImportKind, max_length=16))
    status = ward(C.INTERNAL, fields.CharEnumField(ImportStatus, max_length=16, default=ImportStatus.OPEN))
    file_name = ward(C.INTERNAL, fields.CharField(max_length=200))
    size = ward(C.INTERNAL, fields.BigIntField())
    mapping = ward(C.INTERNAL, fields.CharField(max_length=LONGEST_MAPPING, null=True))
    created_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    run = ward(C.INTERNAL, fields.IntField(default=0))
    is_dry_run = ward(C.INTERNAL, fields.BooleanField(default=False))
    started_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    started_by_program_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    started_on_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="device")
    scope: list[str] | None = cast(Any, ward(C.INTERNAL, ArrayField("text", null=True)))
    started_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    ended_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    total_rows = ward(C.INTERNAL, fields.BigIntField(null=True))
    created_rows = ward(C.INTERNAL, fields.BigIntField(null=True))
    known_rows = ward(C.INTERNAL, fields.BigIntField(null=True))
    rejected_rows = ward(C.INTERNAL, fields.BigIntField(null=True))
    blank_rows = ward(C.INTERNAL, fields.BigIntField(null=True))
    records_created = ward(C.INTERNAL, fields.BigIntField(null=True))
    error_code = ward(C.INTERNAL, fields.CharField(max_length=32, null=True))
    error_message = ward(C.INTERNAL, fields.CharField(max_length=2000, null=True))

    class Meta:
        table = "data_import"


class ImportMapping(TenantModel):
    """How a table of some layout is read: which column is what. `mapping` is that in JSON
    (`resolvers/csv_mapping_text.py`).

    It belongs to a project, and is copied into each import that is made by it.
    """

    noun = "data_import"
    kept = Kept("Until it is deleted; imports keep their copy.", deleted_by=(Permission.RECORD_IMPORT,))
    placement = Placement(project_column="project_id")

    project_id = ward(C.INTERNAL, fields.UUIDField())
    name = ward(C.INTERNAL, fields.CharField(max_length=200))
    mapping = ward(C.INTERNAL, fields.CharField(max_length=LONGEST_MAPPING))
    created_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "import_mapping"


class ImportChunk(TenantModel):
    """Bytes of an uploaded file from `start` on, `length` of them: compressed and in base64, then sealed.

    Nobody is shown them: not by a column's guard, since a file holds values of many. They are not in the trail either.
    """

    noun = "data_import"
    kept = Kept(_WITH_IT, deleted_by=(Permission.RECORD_IMPORT,))
    is_audited = False

    import_id = ward(C.INTERNAL, fields.UUIDField())
    start = ward(C.INTERNAL, fields.BigIntField())
    length = ward(C.INTERNAL, fields.IntField())
    content = ward(C.SECRET, EncryptedField(max_length=LONGEST_CHUNK))

    class Meta:
        table = "import_chunk"


class ImportBlock(TenantModel):
    """What became of the rows of one batch of a run, and how many of each: `fates` is a JSON list of runs of lines.

    A run is [first line, last line, fate, column, reason]; no cell's value is in it. `total_rows` is how many the file
    has.
    """

    noun = "data_import"
    kept = Kept("Until the import is started again.", deleted_by=(Permission.RECORD_IMPORT,))
    is_audited = False

    import_id = ward(C.INTERNAL, fields.UUIDField())
    run = ward(C.INTERNAL, fields.IntField())
    position = ward(C.INTERNAL, fields.IntField())
    total_rows = ward(C.INTERNAL, fields.BigIntField())
    created_rows = ward(C.INTERNAL, fields.IntField())
    known_rows = ward(C.INTERNAL, fields.IntField())
    rejected_rows = ward(C.INTERNAL, fields.IntField())
    blank_rows = ward(C.INTERNAL, fields.IntField())
    records_created = ward(C.INTERNAL, fields.IntField())
    fates = ward(C.INTERNAL, fields.CharField(max_length=LONGEST_FATES))

    class Meta:
        table = "import_block"
