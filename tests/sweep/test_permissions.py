"""Every permission is demanded somewhere: one that nothing asks for would be granted, shown and mean nothing."""

import ast
from pathlib import Path

import pytest

from auth.permission import Permission
from models.inventory import entities

ROOT = Path(__file__).resolve().parent.parent.parent
GUARDS = {column.guard for entity in entities() for column in entity.columns.values()}


def named_in(*packages: str) -> set[str]:
    """Return the names of the permissions that the packages' modules name."""
    return {
        node.attr
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"P", "Permission"}
    }


NAMED = named_in("resolvers", "schema")


@pytest.mark.parametrize("permission", Permission)
def test_a_permission_guards_a_column_or_is_demanded_by_name(permission: Permission) -> None:
    assert permission in GUARDS or permission.name in NAMED
