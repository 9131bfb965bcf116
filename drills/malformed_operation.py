"""Operations that break the contract in one place, or keep to it and give what no caller of sense would.

They are made by hypothesis-graphql from the printed contract, for each root field as many, the same for the same seed.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from graphql import (
    ArgumentNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    ObjectFieldNode,
    OperationDefinitionNode,
    OperationType,
    TypeInfo,
    TypeInfoVisitor,
    ValueNode,
    Visitor,
    get_named_type,
    parse,
    print_ast,
    visit,
)
from hypothesis import HealthCheck, Phase, given
from hypothesis import seed as seeded
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis_graphql import Mode, nodes
from hypothesis_graphql import strategies as operations

BROKEN_SHARE: Final = 0.8
"""The part of the operations that break the contract; the others keep to it, which takes longer to make."""

_KEEPING_OUT: Final = frozenset({"setSignInPolicy", "setTrustedDocumentPolicy"})
"""Mutations that no owner asks in a way that would do: everybody would have to add a second factor before all else, or
could ask nothing that was not registered.
"""


class Tried:
    """Which arguments, and which fields of inputs, operations have given, of all that the contract has."""

    def __init__(self, contract: GraphQLSchema) -> None:
        self._contract = contract
        self.reached: set[str] = set()
        self.reachable = set(_given_names(contract))

    def note(self, text: str) -> None:
        """Note what an operation gives. What can't be parsed gives nothing."""
        try:
            document = parse(text, no_location=True)
        except GraphQLError:
            return
        info = TypeInfo(self._contract)
        visit(document, TypeInfoVisitor(info, _Noting(info, self.reached)))


class _Noting(Visitor):
    def __init__(self, info: TypeInfo, reached: set[str]) -> None:
        super().__init__()
        self._info = info
        self._reached = reached

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        parent, definition = self._info.get_parent_type(), self._info.get_field_def()
        if parent is not None and definition is not None and node.name.value in definition.args:
            name = next(name for name, one in getattr(parent, "fields", {}).items() if one is definition)
            self._reached.add(f"{parent.name}.{name}({node.name.value})")

    def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> None:
        parent = get_named_type(self._info.get_parent_input_type())
        if isinstance(parent, GraphQLInputObjectType) and node.name.value in parent.fields:
            self._reached.add(f"{parent.name}.{node.name.value}")


def _given_names(contract: GraphQLSchema) -> Iterator[str]:
    for named in contract.type_map.values():
        if named.name.startswith("__"):
            continue
        if isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
            for name, one in named.fields.items():
                yield from (f"{named.name}.{name}({argument})" for argument in one.args)
        elif isinstance(named, GraphQLInputObjectType):
            yield from (f"{named.name}.{name}" for name in named.fields)


class Drawn(NamedTuple):
    """An operation that was made. is_broken: whether it breaks the contract; else keeps_out says whether it would, if
    it were done, let nobody ask anything more: it is for who may not. is_live: whether it is a subscription.
    """

    text: str
    is_broken: bool
    keeps_out: bool = False
    is_live: bool = False


class _Root(NamedTuple):
    """A field that operations ask for: of which contract, by what they are made, and whether it is a subscription's."""

    contract: GraphQLSchema
    strategy: Any
    name: str
    is_live: bool = False


def malformed_operations(contract: GraphQLSchema, count: int, *, seed: int, ids: Sequence[str]) -> Iterator[Drawn]:
    """Yield at least so many operations, each root field's as many.

    Of some fields there are not as many, since little can be given to them: what is left is of a few of the others.
    """
    made = list(_roots(contract))
    scalars, seeds = _scalars(ids), itertools.count(seed)
    wanted, giving = -(-count // len(made)), []
    for root in made:
        drawn = _of_field(root, wanted, seed=next(seeds), scalars=scalars)
        yield from drawn
        count -= len(drawn)
        if len(drawn) == wanted:
            giving.append(root)
    for root in giving:
        if count <= 0:
            break
        drawn = _of_field(root, wanted, seed=next(seeds), scalars=scalars)
        yield from drawn
        count -= len(drawn)


def _roots(contract: GraphQLSchema) -> Iterator[_Root]:
    kinds = ((contract.query_type, operations.queries), (contract.mutation_type, operations.mutations))
    for kind, strategy in kinds:
        yield from (_Root(contract, strategy, name) for name in (kind.fields if kind is not None else ()))
    if contract.subscription_type is not None:
        # It makes no subscriptions: of a contract that queries them, queries are the same but for the word.
        following = GraphQLSchema(query=contract.subscription_type)
        yield from (_Root(following, operations.queries, name, True) for name in contract.subscription_type.fields)


def as_subscription(text: str) -> str:
    """Return a query as a subscription to the same."""
    return print_ast(visit(parse(text, no_location=True), _Subscribing()))


class _Subscribing(Visitor):
    def leave_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> OperationDefinitionNode:
        said = {key: getattr(node, key) for key in node.keys if key not in {"loc", "operation"}}
        return OperationDefinitionNode(**said, operation=OperationType.SUBSCRIPTION)


def _of_field(
    root: _Root, wanted: int, *, seed: int, scalars: Mapping[str, st.SearchStrategy[ValueNode]]
) -> list[Drawn]:
    """Return operations that ask for one root field: so many, or as many as there are."""
    # An id is one of those that are broken.
    breaking = {name: one for name, one in scalars.items() if name != "ID"}
    texts: Any = root.strategy(root.contract, fields=[root.name], custom_scalars=breaking, mode=Mode.NEGATIVE)
    try:
        broken = _drawn(texts, round(wanted * BROKEN_SHARE), seed)
    except InvalidArgument:
        # Such as a field that is given nothing: there is nothing to break.
        broken = []
    texts = root.strategy(root.contract, fields=[root.name], custom_scalars=scalars, mode=Mode.POSITIVE)
    kept = _drawn(texts, wanted - len(broken), seed)
    drawn = [
        *(Drawn(text, is_broken=True) for text in broken),
        *(Drawn(text, is_broken=False, keeps_out=root.name in _KEEPING_OUT) for text in kept),
    ]
    return [one._replace(text=as_subscription(one.text), is_live=True) for one in drawn] if root.is_live else drawn


def _drawn(strategy: st.SearchStrategy[str], count: int, seed: int) -> list[str]:
    drawn: list[str] = []
    if count < 1:
        return drawn

    @seeded(seed)
    @hypothesis_settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(text: str) -> None:
        drawn.append(text)

    draw()
    return drawn[:count]


def _scalars(ids: Sequence[str]) -> Mapping[str, st.SearchStrategy[ValueNode]]:
    """Return what is given as scalars: what looks right, what nearly does, and what a database stumbles over."""
    odd = st.sampled_from(
        ["", "0", "-1", "\u0000", "\ud7ff", "'; drop table record; --", "%", "\\", "a" * 5000, "𝔘", "\u202e"]
    )
    moments = st.sampled_from(
        [
            "2026-01-02T03:04:05Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-12:00",
            # What asyncpg takes for infinity, and for its opposite.
            "9999-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-01",
        ]
    )
    wrong_ids = st.sampled_from(["Record:", ":", "Record:0", f"Record:{UUID(int=0)}", "__Type:1", "UmVjb3JkOjE="])
    uuids = st.uuids().map(str)
    return {
        "ID": st.one_of(st.sampled_from(list(ids)), wrong_ids, odd, uuids.map("Record:{}".format)).map(nodes.String),
        "DateTime": st.one_of(moments, odd).map(nodes.String),
        "Date": st.one_of(moments.map(lambda one: one[:10]), odd).map(nodes.String),
        "UUID": st.one_of(uuids, odd).map(nodes.String),
    }
