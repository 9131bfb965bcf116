"""Parsing and validating, without leaving anything behind that only the garbage collector would find.

graphql-core links all tokens of a text in both directions, and each visitor of a document with its own methods, which
have the whole document in reach. For thousands of tokens the collector is called again and again, and while it looks
around nobody is served: of what one client sends to keep a server busy, that was what others felt most.
"""

from importlib import import_module
from typing import Any, Final

from graphql import DocumentNode, Lexer, Node, Source, Token, TypeInfoVisitor, visit
from graphql.language import ParallelVisitor, Visitor
from graphql.language.parser import Parser

_VALIDATING: Final = ("graphql.validation.validate", "graphql.validation.validation_context")
"""The modules that visit documents to validate them."""


def parsed(text: str, most_tokens: int) -> DocumentNode:
    """Return the document that the text says.

    Raises:
        GraphQLError: it is none, or has more tokens.
        RecursionError: it is nested too deeply; `schema/text.py: extent_of` refuses that before.
    """
    source = Source(text)
    return Parser(source, max_tokens=most_tokens, lexer=_Lexer(source)).parse_document()


class _Lexer(Lexer):
    """Has a token know of no other once it is over. The parser counts the comments between the last and this one."""

    def advance(self) -> Token:
        """Go on to the next token, past comments, and return it."""
        one: Token | None = self.last_token
        while one is not None and one is not self.token:
            after = one.next
            one.prev = one.next = None
            one = after
        self.token.prev = None
        return super().advance()


def visit_and_let_go(root: Node, visitor: Visitor, *keys: Any) -> Any:
    """Visit a document, and have the visitor forget its methods and where it was."""
    try:
        return visit(root, visitor, *keys)
    finally:
        _let_go(visitor)


def _let_go(visitor: Visitor) -> None:
    visitor.enter_leave_map.clear()
    if isinstance(visitor, TypeInfoVisitor):
        _let_go(visitor.visitor)
    elif isinstance(visitor, ParallelVisitor):
        visitor.skipping.clear()
        for one in visitor.visitors:
            _let_go(one)


# Where a later version goes another way, tests/unit/test_parsing.py finds what is left behind.
for _name in _VALIDATING:
    import_module(_name).visit = visit_and_let_go  # type: ignore[attr-defined]
