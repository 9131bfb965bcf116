"""The tree of RFC 9162: every root and proof is that of the definition, and nothing else is accepted."""

import hashlib
import random
from collections.abc import Sequence

import pytest

from models.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    complete_subtrees,
    consistency_ranges,
    hash_over,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The test leaves and roots of google/certificate-transparency, python/ct/crypto/merkle_test.py.
CT_LEAVES = [
    bytes.fromhex(one)
    for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
CT_INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
}
CT_CONSISTENCY = {
    (1, 8): CT_INCLUSION[0, 8],
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}

MOST = 300
LEAVES = [leaf_hash(b"%d" % number) for number in range(MOST)]


def mth(leaves: Sequence[bytes]) -> bytes:
    """The root, as RFC 9162, 2.1.1 defines it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = largest_power_below(len(leaves))
    return node_hash(mth(leaves[:split]), mth(leaves[split:]))


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The inclusion proof, as RFC 9162, 2.1.3.1 defines it."""
    if len(leaves) <= 1:
        return []
    split = largest_power_below(len(leaves))
    if index < split:
        return [*path(index, leaves[:split]), mth(leaves[split:])]
    return [*path(index - split, leaves[split:]), mth(leaves[:split])]


def proof(old: int, leaves: Sequence[bytes], *, is_whole: bool = True) -> list[bytes]:
    """The consistency proof, as RFC 9162, 2.1.4.1 defines it (SUBPROOF)."""
    if old == len(leaves):
        return [] if is_whole else [mth(leaves)]
    split = largest_power_below(len(leaves))
    if old <= split:
        return [*proof(old, leaves[:split], is_whole=is_whole), mth(leaves[split:])]
    return [*proof(old - split, leaves[split:], is_whole=False), mth(leaves[:split])]


def largest_power_below(size: int) -> int:
    """The largest power of two that is smaller."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def by_ranges(ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The hashes over ranges of the leaves, put together from complete subtrees as they are stored."""
    return [
        hash_over([mth(LEAVES[index << level : (index + 1) << level]) for level, index in complete_subtrees(*one)])
        for one in ranges
    ]


ROOTS = [mth(LEAVES[:size]) for size in range(MOST + 1)]


def test_the_roots_and_proofs_are_those_that_certificate_transparency_published() -> None:
    hashes = [leaf_hash(one) for one in CT_LEAVES]

    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [root_of(hashes[:size]).hex() for size in range(1, 9)] == list(CT_ROOTS)
    for (index, size), expected in CT_INCLUSION.items():
        found = [mth(hashes[start:end]) for start, end in inclusion_ranges(index, size)]
        assert [one.hex() for one in found] == list(expected)
        verify_inclusion(hashes[index], index, size, found, bytes.fromhex(CT_ROOTS[size - 1]))
    for (old, size), expected in CT_CONSISTENCY.items():
        found = [mth(hashes[start:end]) for start, end in consistency_ranges(old, size)]
        assert [one.hex() for one in found] == list(expected)
        verify_consistency(old, bytes.fromhex(CT_ROOTS[old - 1]), size, bytes.fromhex(CT_ROOTS[size - 1]), found)


def test_a_tree_that_grows_has_the_root_of_the_definition_at_every_size() -> None:
    frontier = Frontier()
    nodes: dict[tuple[int, int], bytes] = {}
    for size in range(MOST + 1):
        assert (frontier.size, frontier.root) == (size, ROOTS[size])
        assert root_of(LEAVES[:size]) == ROOTS[size]
        assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier
        frontier = frontier.extended(
            LEAVES[size : size + 1], completed=lambda level, index, hashed: nodes.update({(level, index): hashed})
        )
    for (level, index), hashed in nodes.items():
        assert hashed == mth(LEAVES[index << level : (index + 1) << level])


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 299])
def test_it_does_not_matter_in_which_batches_a_tree_grows(batch: int) -> None:
    frontier = Frontier()
    for start in range(0, MOST, batch):
        frontier = frontier.extended(LEAVES[start : start + batch])

    assert frontier.root == ROOTS[MOST]


def test_every_inclusion_proof_is_that_of_the_definition_and_is_accepted() -> None:
    for size in range(1, 130):
        for index in range(size):
            found = by_ranges(inclusion_ranges(index, size))
            assert found == path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, found, ROOTS[size])


def test_every_consistency_proof_is_that_of_the_definition_and_is_accepted() -> None:
    for size in range(1, 130):
        for old in range(1, size + 1):
            found = by_ranges(consistency_ranges(old, size))
            assert found == proof(old, LEAVES[:size])
            verify_consistency(old, ROOTS[old], size, ROOTS[size], found)
        verify_consistency(0, EMPTY_ROOT, size, ROOTS[size], [])


def test_proofs_of_larger_trees_are_accepted() -> None:
    chosen = random.Random(9162)  # noqa: S311
    for size in range(130, MOST + 1):
        index, old = chosen.randrange(size), chosen.randrange(1, size + 1)
        verify_inclusion(LEAVES[index], index, size, by_ranges(inclusion_ranges(index, size)), ROOTS[size])
        verify_consistency(old, ROOTS[old], size, ROOTS[size], by_ranges(consistency_ranges(old, size)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 11, 16])
def test_a_wrong_inclusion_proof_is_refused(size: int) -> None:
    for index in range(size):
        found, root = path(index, LEAVES[:size]), ROOTS[size]
        for wrong in altered(found):
            refuse_inclusion(LEAVES[index], index, size, wrong, root)
        for leaf in flips(LEAVES[index]):
            refuse_inclusion(leaf, index, size, found, root)
        for other in flips(root):
            refuse_inclusion(LEAVES[index], index, size, found, other)
        for place in {*range(-1, size + 2)} - {index}:
            refuse_inclusion(LEAVES[index], place, size, found, root)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 11, 16])
def test_a_wrong_consistency_proof_is_refused(size: int) -> None:
    for old in range(size + 1):
        found = proof(old, LEAVES[:size]) if old else []
        for wrong in altered(found):
            refuse_consistency(old, ROOTS[old], size, ROOTS[size], wrong)
        for root in flips(ROOTS[old]):
            refuse_consistency(old, root, size, ROOTS[size], found)
        if old:
            for root in flips(ROOTS[size]):
                refuse_consistency(old, ROOTS[old], size, root, found)
        for other in {*range(-1, size + 2)} - {old}:
            refuse_consistency(other, ROOTS[old], size, ROOTS[size], found)


def test_a_leaf_is_no_node_and_a_shorter_tree_no_longer_one() -> None:
    with pytest.raises(ProofError, match="was cut"):
        verify_consistency(8, ROOTS[8], 7, ROOTS[7], [])
    # Two leaves whose data are the children of a node do not stand for it.
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])
    for call in (lambda: inclusion_ranges(3, 3), lambda: consistency_ranges(4, 3), lambda: Frontier(3, ())):
        with pytest.raises(ValueError, match="leaves"):
            call()
    with pytest.raises(ValueError, match="no subtree"):
        list(complete_subtrees(1, 3))


def altered(found: Sequence[bytes]) -> list[list[bytes]]:
    """Proofs that are not this one: each bit flipped, one hash left out, added, or swapped."""
    wrong = [[*found[:at], one, *found[at + 1 :]] for at, hashed in enumerate(found) for one in flips(hashed)]
    wrong += [[*found[:at], *found[at + 1 :]] for at in range(len(found))]
    wrong += [[*found[:at], bytes(32), *found[at:]] for at in range(len(found) + 1)]
    wrong += [[*found[:at], found[at + 1], found[at], *found[at + 2 :]] for at in range(len(found) - 1)]
    return wrong


def flips(hashed: bytes) -> list[bytes]:
    """The hash with each of its bits flipped."""
    whole = int.from_bytes(hashed, "big")
    return [(whole ^ (1 << bit)).to_bytes(32, "big") for bit in range(256)]


def refuse_inclusion(leaf: bytes, index: int, size: int, found: Sequence[bytes], root: bytes) -> None:
    """Expect that it is not accepted."""
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, found, root)


def refuse_consistency(old: int, old_root: bytes, size: int, root: bytes, found: Sequence[bytes]) -> None:
    """Expect that it is not accepted."""
    with pytest.raises(ProofError):
        verify_consistency(old, old_root, size, root, found)
