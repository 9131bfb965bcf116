"""The documents of our own pages, which every organization trusts: read from the pages' own sources.

A page marks each document that it sends as its editors do, by a comment before the text: GraphQL in a template literal
without anything put in. What is not marked is none of ours, and is refused where trusted documents alone are run.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schema.own_document import OWN_DOCUMENTS

_PAGES: Final = Path(__file__).resolve().parent.parent / "pages"
_SOURCES: Final = ("account/*.js", "build/src/*.js", "build/src/*.jsx")
_MARKED: Final = re.compile(r"/\* GraphQL \*/\s*`((?:[^`$\\]|\$(?!\{))*)`")


def own_documents() -> Iterator[str]:
    """Yield the texts: those of the pages, and those by which an administrator lets other documents be run.

    Raises:
        OSError: a page's source can't be read.
    """
    yield from OWN_DOCUMENTS
    for pattern in _SOURCES:
        for path in sorted(_PAGES.glob(pattern)):
            yield from _MARKED.findall(path.read_text(encoding="utf-8"))
