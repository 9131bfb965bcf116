"""The pages name files and functions; each is where they say."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = tuple(sorted((ROOT / "docs").rglob("*.md")))

FILE = re.compile(r"`((?:\.?[\w-]+/)*[\w.-]+\.(?:py|sql))[:`]")
FUNCTION = re.compile(r"`((?:[\w-]+/)+\w+\.py): ([\w.]+)`")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the functions, classes and constants of a file; a method as `Class.method`."""
    found: set[str] = set()

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(f"{prefix}{child.name}")
                walk(child, f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix)
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                found.update(f"{prefix}{one.id}" for one in targets if isinstance(one, ast.Name))
            else:
                walk(child, prefix)

    walk(ast.parse(path.read_text()), "")
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    for name in FILE.findall(text):
        # A reader of a quick start saves some themselves.
        assert (ROOT / name).exists() or f"as `{name}`:" in " ".join(text.split()), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_function_that_a_page_names_is_in_its_file(page: Path) -> None:
    for file, name in FUNCTION.findall(page.read_text()):
        assert name in names_in(ROOT / file), f"{file}: {name}"


@pytest.mark.parametrize("journey", ["A query", "A mutation", "A sign-in"])
def test_the_architecture_names_the_steps_of_its_journeys(journey: str) -> None:
    _, heading, below = ARCHITECTURE.read_text().partition(f"\n## {journey}, step by step\n")
    steps = re.findall(r"^\d+\. .*?(?=^\d+\. |\Z)", below.partition("\n## ")[0], re.MULTILINE | re.DOTALL)

    assert heading
    assert len(steps) == 9
    assert len([step for step in steps if FUNCTION.search(step)]) >= 7
