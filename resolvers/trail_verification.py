"""Verifying the audit trail while the service writes: every sealed entry, every head, and every row that it tells of.

Each organization is read from one snapshot, so that nothing that is written meanwhile is taken for something wrong.
What the verification found is an entry itself, in the trail of the organization that it is about.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.errors import Code
from auth.principal import SYSTEM_ID
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import append_entries
from models.encryption.keyring import active_keyring
from models.encryption.keystore import KeyStore
from models.finding import Finding, FindingKind, Findings
from models.ledger.checkpoint import CheckpointError, Head, VerifierKey
from models.ledger.merkle import leaf_hash
from models.ledger.tree import last_head
from models.reading import Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change
from resolvers.kept_heads import KeptHead
from resolvers.leaf_reading import WINDOW
from resolvers.pace import Pace
from resolvers.row_verification import verify_rows
from resolvers.sealing import Sealer, heads_leaf
from resolvers.trail import Actor, new_entry
from resolvers.tree_comparison import VerifiedTree, verify_cosignatures
from resolvers.tree_verification import KnownLeaves, verify_heads_tree, verify_organization_tree
from resolvers.wall_verification import verify_walls

HEADS: Final = "Signed heads"
MOST_NAMED: Final = 1000
"""Rows that an entry about a failed verification names."""

_BATCHES: Final = """
    select id, tree_size, root_hash, generation, heads_index, sealed_at from sealed_batch
    where organization_id = $1 and tree_size > $2 order by tree_size limit $3
"""
_ABOVE: Final = "select id, leaf_index, leaf_hash from sealed_leaf where organization_id = $1 and id = any($2)"


@dataclass(slots=True)
class TrailVerification:
    """What was looked at, and what is wrong.

    sizes: how many leaves each organization's tree has. slugs: of the organizations that have one.
    """

    sizes: dict[UUID, int] = field(default_factory=dict)
    slugs: dict[UUID, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def take(self, found: Findings) -> None:
        """Take up what was found in an organization."""
        self.findings += found.named
        self.more += found.more


async def verify_trail(
    sealer: Sealer,
    store: KeyStore,
    actor: Actor,
    pace: Pace,
    *,
    only: UUID | None = None,
    kept: Sequence[KeptHead] = (),
    witnesses: Sequence[VerifierKey] = (),
) -> TrailVerification:
    """Verify the trails of all organizations, or of one, and write down in each what came out.

    kept: heads as others kept them; those that are published outside of the database, or were written down there when
        they were signed, are looked up besides. witnesses: those whose signatures below heads are verified.

    Raises:
        UnavailableError: the database is away, or took too long; or what was published can't be read.
    """
    result = TrailVerification()
    above, guards = Findings(HEADS_ID), Findings(SYSTEM_ID)
    heads = _verified_heads(sealer, kept, above, witnesses)
    async with Snapshot(Tenant(organization_id=HEADS_ID)) as connection:
        # The snapshot is of the first statement: whoever has a head in it had a key before.
        await connection.fetchval("select 1")
        await verify_walls(connection, guards)
        organizations = [SYSTEM_ID, *await store.organizations()] if only is None else [only]
        mine = heads.pop(HEADS_ID, []) + await _published(connection, sealer, HEADS_ID)
        await _verify_heads(connection, sealer, above, organizations, pace, mine, witnesses, only)
    for organization_id in organizations:
        found = Findings(organization_id)
        mine = heads.pop(organization_id, [])
        async with Snapshot(Tenant(organization_id=organization_id)) as connection:
            mine += await _published(connection, sealer, organization_id)
            tree = await verify_organization_tree(connection, sealer, found, pace, kept=mine, witnesses=witnesses)
            is_whole = not await connection.fetchval(
                "select exists (select from sealed_leaf where organization_id = $1 and expired_by is not null)",
                organization_id,
            )
            await verify_rows(connection, found, pace, is_whole=is_whole)
            slug = await connection.fetchval("select slug from organization where id = $1", organization_id)
        if slug is not None:
            result.slugs[organization_id] = slug
        result.sizes[organization_id] = tree.size
        await _write_down(_within(actor, organization_id), found, tree)
        result.take(found)
    if only is None:
        for organization_id, gone in heads.items():
            for head in gone:
                what = f"the published head of {head.origin}"
                above.add(FindingKind.TRUNCATED, what, expected=f"{head.size} leaves", got=f"none of {organization_id}")
    for of_all in (guards, above):
        if len(of_all):
            await _write_down(_within(actor, SYSTEM_ID), of_all, None)
        result.take(of_all)
    return result


def _tree_of(sealer: Sealer, origin: str) -> UUID:
    """Return the organization whose tree has the origin. Raises `CheckpointError` if it is none of ours."""
    # A log that was begun anew has a number behind its origin.
    for shortened in (origin, origin.rpartition("/")[0]):
        if shortened == sealer.origin(HEADS_ID):
            return HEADS_ID
        try:
            organization_id = UUID(shortened.rpartition("/")[2])
        except ValueError:
            continue
        if shortened == sealer.origin(organization_id):
            return organization_id
    raise CheckpointError(f"{origin} is no log of this installation.")


async def _published(connection: asyncpg.Connection, sealer: Sealer, organization_id: UUID) -> list[Head]:
    """Return the heads of a tree that are known outside of the database, under its newest origin."""
    if sealer.guard is None:
        return []
    generation = (await last_head(connection, organization_id)).generation
    return await sealer.guard.published(sealer.origin(organization_id, generation))


def _verified_heads(
    sealer: Sealer, kept: Sequence[KeptHead], findings: Findings, witnesses: Sequence[VerifierKey]
) -> dict[UUID, list[Head]]:
    """Return the heads that this installation signed, by the organization whose they are."""
    heads: dict[UUID, list[Head]] = defaultdict(list)
    for one in kept:
        try:
            head = Head.parse(one.note.text)
            sealer.signer.verifier_key(head.origin).verify(one.note)
            verify_cosignatures(findings, f"the head in {one.source}", one.note, witnesses)
            heads[_tree_of(sealer, head.origin)].append(head)
        except CheckpointError as error:
            findings.add(FindingKind.SIGNATURE, f"the head in {one.source}: {error}")
    return dict(heads)


async def _verify_heads(
    connection: asyncpg.Connection,
    sealer: Sealer,
    findings: Findings,
    organizations: Sequence[UUID],
    pace: Pace,
    kept: Sequence[Head],
    witnesses: Sequence[VerifierKey],
    only: UUID | None,
) -> None:
    """Verify that each organization's heads are in the tree of heads, and that this holds no others."""
    known = KnownLeaves()
    for organization_id in organizations:
        after = -1
        while True:
            await connection.execute(Tenant(organization_id).entering())
            batches = await connection.fetch(_BATCHES, organization_id, after, WINDOW)
            await connection.execute(Tenant(HEADS_ID).entering())
            leaves = await connection.fetch(_ABOVE, HEADS_ID, [batch["id"] for batch in batches])
            by_id = {leaf["id"]: leaf for leaf in leaves}
            for batch in batches:
                origin = sealer.origin(organization_id, batch["generation"])
                head = Head(origin, batch["tree_size"], batch["root_hash"])
                expected = leaf_hash(heads_leaf(head, batch["sealed_at"]))
                leaf = by_id.get(batch["id"])
                if leaf is not None:
                    known.add(leaf["leaf_index"])
                is_there = leaf is not None and leaf["leaf_index"] == batch["heads_index"]
                if leaf is None or not is_there or leaf["leaf_hash"] != expected:
                    findings.add(
                        FindingKind.HEAD,
                        f"the head of {head.size} leaves of {head.origin}, in the tree of heads",
                        expected=expected.hex(),
                        got="none" if leaf is None else leaf["leaf_hash"].hex(),
                        table="sealed_batch",
                        row_id=batch["id"],
                    )
            await pace.note(HEADS, len(batches))
            if len(batches) < WINDOW:
                break
            after = batches[-1]["tree_size"]
    await verify_heads_tree(
        connection, sealer, findings, kept=kept, witnesses=witnesses, known=known if only is None else None
    )


async def _write_down(actor: Actor, found: Findings, tree: VerifiedTree | None) -> None:
    """Write what came out into the trail. That this fails is one more finding, and takes none of the others away."""
    try:
        await _append(actor, found, tree)
    except Exception as error:
        expected = f"an entry {Action.AUDIT_VERIFY}"
        found.add(FindingKind.UNTOLD, "what was found here", expected=expected, got=type(error).__name__)


async def _append(actor: Actor, found: Findings, tree: VerifiedTree | None) -> None:
    """Write up to which head all is right, or of which tables what is not."""
    if not len(found):
        head = [tree.last["id"]] if tree is not None and tree.last is not None else []
        intent = Intent(Action.AUDIT_VERIFY, actor, entity="sealed_batch", subjects=head)
        await commit_change(intent, _nothing_else)
        return
    await active_keyring().load(actor.key_owners)
    await append_entries(
        new_entry(
            actor,
            kind=EntryKind.ATTEMPT,
            action=Action.AUDIT_VERIFY,
            outcome=Outcome.FAILED,
            error_code=Code.INTERNAL,
            entity=table,
            entity_ids=ids[:MOST_NAMED],
        )
        for table, ids in sorted(_by_table(found.named).items())
    )


def _by_table(findings: Sequence[Finding]) -> Mapping[str, list[UUID]]:
    by_table: dict[str, list[UUID]] = defaultdict(list)
    for one in findings:
        ids = by_table[one.table or "sealed_batch"]
        if one.row_id is not None:
            ids.append(one.row_id)
    return by_table


def _within(actor: Actor, organization_id: UUID) -> Actor:
    return replace(actor, organization_id=organization_id)


async def _nothing_else(_: Change) -> None:
    """Change no row: what was found is an entry by itself."""
