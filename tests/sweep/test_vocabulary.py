"""Every permission is demanded somewhere, and every action is one that something does: no word means nothing."""

import ast
from pathlib import Path

import pytest

from auth.action import Action
from auth.permission import Permission
from models.inventory import entities

ROOT = Path(__file__).resolve().parent.parent.parent
GUARDS = {column.guard for entity in entities() for column in entity.columns.values()}


def named_in(*packages: str, of: str) -> set[str]:
    """Return what the packages' modules name of an enum, by its members' names. P is short for `Permission`."""
    return {
        node.attr
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and {"P": "Permission"}.get(node.value.id, node.value.id) == of
    }


NAMED = named_in("resolvers", "schema", of="Permission")
DONE = named_in("resolvers", "schema", "fieldward", of="Action")


@pytest.mark.parametrize("permission", Permission)
def test_a_permission_guards_a_column_or_is_demanded_by_name(permission: Permission) -> None:
    assert permission in GUARDS or permission.name in NAMED


@pytest.mark.parametrize("action", Action)
def test_an_action_is_one_that_something_does(action: Action) -> None:
    assert action.name in DONE
