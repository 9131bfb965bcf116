"""What `docs/format.md` says of columns and bounds, held to the code; its vectors have a test of their own."""

import json
import re
import sys
import unicodedata
from pathlib import Path

from models.encryption.codec import Codec
from models.encryption.column import EncryptedField
from models.encryption.envelope import MOST_SEALS, SEALS_BEFORE_ROTATION, KeyPurpose, OwnerKind
from models.encryption.file_provider import KEY_LENGTH
from models.inventory import Column, entities

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE = (DOCS / "format.md").read_text()


def column_line(column: Column) -> str:
    """Return what the page says of an encrypted column."""
    field = column.field
    assert isinstance(field, EncryptedField)
    kind = "organization" if field.owner_column is None else field.owner_kind.value.lower()
    whose = kind if field.owner_column is None else f"{kind} `{field.owner_column}`"
    told = (field.purpose.value, field.codec.__name__)
    cells = (f"`{column.entity}.{column.name}`", whose, *(f"`{one}`" for one in told), f"{field.max_length:,}")
    return f"| {' | '.join(cells)} | {'yes' if field.pad else 'no'} |"


def test_each_encrypted_column_is_on_the_page_as_it_is_declared() -> None:
    declared = [column_line(one) for entity in entities() for one in entity.columns.values() if one.is_sealed]

    section = PAGE.partition("\n## Columns\n")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == declared


def test_the_page_names_every_kind_of_owner_purpose_and_type() -> None:
    for name in (*OwnerKind, *KeyPurpose, *(codec.__name__ for codec in Codec.__subclasses__())):
        assert f"| `{name}` |" in PAGE, name


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    assert MOST_SEALS == 2**32
    assert SEALS_BEFORE_ROTATION == 2**30
    assert "at most 2^32 values" in PAGE
    assert "replaced after 2^30" in PAGE
    assert f"{KEY_LENGTH}\nbytes each" in PAGE


def test_the_example_of_associated_data_is_that_of_its_vector() -> None:
    (plain,) = [
        one for one in json.loads((DOCS / "format-vectors.json").read_text())["sealed"] if one["name"] == "plain"
    ]

    block = PAGE.partition("```text\n")[2].partition("```")[0]
    shown = "".join(match[1] + match[2] for match in re.finditer(r"^([0-9a-f]{4}) ([0-9a-f]+)", block, re.MULTILINE))
    assert shown == plain["associated_data"]


def test_white_space_of_the_page_is_what_normal_forms_take_out() -> None:
    told: set[int] = set()
    sentence = PAGE.partition("White space is then")[2].partition(". ")[0]
    for first, last in re.findall(r"U\+([0-9A-F]{4})(?:–U\+([0-9A-F]{4}))?", sentence):
        told |= set(range(int(first, 16), int(last or first, 16) + 1))

    blanks = [one for one in map(chr, range(sys.maxunicode + 1)) if one.isspace()]
    assert told == {ord(part) for one in blanks for part in unicodedata.normalize("NFKC", one) if part.isspace()}
