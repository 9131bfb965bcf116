"""The Merkle tree of RFC 9162, section 2.1: hashes, roots, and proofs that a leaf is in it and that it only grew.

Pure: no I/O, and nothing is kept. A proof is worked out as the ranges of leaves whose hashes it consists of, so that
whoever stores a tree looks up those alone. What does not fit raises; nothing answers a boolean that could be ignored.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

HASH_LENGTH: Final = 32
EMPTY_ROOT: Final = hashlib.sha256().digest()
"""The root of a tree without leaves (RFC 9162, 2.1.1)."""

LEAF_PREFIX: Final = b"\x00"
_NODE_PREFIX: Final = b"\x01"

Range = tuple[int, int]
"""Leaves from the first index up to, and without, the second."""


class ProofError(Exception):
    """A proof does not prove what it should. The message says what was expected."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162, 2.1.1)."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees (RFC 9162, 2.1.1)."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """What must be kept of a tree to let it grow: the roots of its largest complete subtrees, from the left.

    There is one for each bit that is set in `size`, the highest first.
    """

    size: int = 0
    subtrees: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.subtrees) != self.size.bit_count():
            raise ValueError(f"A tree of {self.size} leaves has not {len(self.subtrees)} complete subtrees.")

    @classmethod
    def from_bytes(cls, size: int, stored: bytes) -> "Frontier":
        """Return the frontier that `to_bytes` gave; raises `ValueError` if it is not of that size."""
        places = range(0, len(stored), HASH_LENGTH)
        return cls(size, tuple(stored[place : place + HASH_LENGTH] for place in places))

    def to_bytes(self) -> bytes:
        """Return the hashes, one after the other."""
        return b"".join(self.subtrees)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        if not self.subtrees:
            return EMPTY_ROOT
        root = self.subtrees[-1]
        for left in reversed(self.subtrees[:-1]):
            root = node_hash(left, root)
        return root

    def extended(
        self, leaves: Iterable[bytes], *, completed: Callable[[int, int, bytes], None] | None = None
    ) -> "Frontier":
        """Return the frontier once these leaves, as hashes, are appended.

        completed: is told of every subtree that becomes complete: its level (1 for two leaves), its index among those
            of that level, its hash.
        """
        size, subtrees = self.size, list(self.subtrees)
        for leaf in leaves:
            size += 1
            subtrees.append(leaf)
            level, rest = 1, size
            while rest % 2 == 0:
                rest //= 2
                right = subtrees.pop()
                subtrees[-1] = node_hash(subtrees[-1], right)
                if completed is not None:
                    completed(level, rest - 1, subtrees[-1])
                level += 1
        return Frontier(size, tuple(subtrees))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaves, given as hashes."""
    return Frontier().extended(leaves).root


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return whose hashes prove that the leaf is in the tree, from the leaf to the root (RFC 9162, 2.1.3.1).

    Raises:
        ValueError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"A tree of {size} leaves has none with the index {index}.")
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, size: int) -> list[Range]:
    """Return whose hashes prove that a tree only grew since it had its old size (RFC 9162, 2.1.4.1).

    Empty where it did not grow, or was empty: then there is nothing to prove but that both roots are right.

    Raises:
        ValueError: the tree was never as large.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"A tree of {size} leaves never had {old_size}.")
    if old_size in {0, size}:
        return []
    ranges: list[Range] = []
    start, end = 0, size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:
        ranges.append((start, end))
    return ranges[::-1]


def complete_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the complete subtrees that a range of a proof consists of, from the left: each its level and its index.

    Raises:
        ValueError: no proof has such a range: it must begin where a subtree of its size could.
    """
    if not 0 <= start < end or start % (1 << (end - start - 1).bit_length()):
        raise ValueError(f"The leaves from {start} to {end} are no subtree.")
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def hash_over(subtrees: Sequence[bytes]) -> bytes:
    """Return the hash of a range, from those of its complete subtrees (`complete_subtrees`)."""
    found = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        found = node_hash(left, found)
    return found


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Verify that a leaf, given as its hash, is in a tree (RFC 9162, 2.1.3.2).

    Raises:
        ProofError: it is not proved.
    """
    if not 0 <= index < size:
        raise ProofError(f"A tree of {size} leaves has none with the index {index}.")
    here, last, found = index, size - 1, leaf
    for hashed in path:
        if last == 0:
            raise ProofError("The proof is longer than the tree is high.")
        if here % 2 or here == last:
            found = node_hash(hashed, found)
            while here % 2 == 0 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, hashed)
        here, last = here >> 1, last >> 1
    if last:
        raise ProofError("The proof ends before the root.")
    if found != root:
        raise ProofError(f"The proof leads to the root {found.hex()}, not to {root.hex()}.")


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Verify that a tree is the old one with leaves appended (RFC 9162, 2.1.4.2).

    Raises:
        ProofError: it is not proved: the tree was changed, cut, or is another one.
    """
    if not 0 <= old_size <= size:
        raise ProofError(f"The tree had {old_size} leaves and has {size}: it was cut.")
    if old_size in {0, size}:
        if path:
            raise ProofError("Expected an empty proof.")
        if old_size == size and old_root != root:
            raise ProofError(f"Two trees of {size} leaves have the roots {old_root.hex()} and {root.hex()}.")
        if old_size == 0 and old_root != EMPTY_ROOT:
            raise ProofError("A tree without leaves has another root.")
        return
    rest = list(path)
    if old_size & (old_size - 1) == 0:
        rest.insert(0, old_root)
    if not rest:
        raise ProofError("Expected a proof.")
    here, last = old_size - 1, size - 1
    while here % 2:
        here, last = here >> 1, last >> 1
    found_old = found = rest[0]
    for hashed in rest[1:]:
        if last == 0:
            raise ProofError("The proof is longer than the tree is high.")
        if here % 2 or here == last:
            found_old, found = node_hash(hashed, found_old), node_hash(hashed, found)
            while here % 2 == 0 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, hashed)
        here, last = here >> 1, last >> 1
    if last:
        raise ProofError("The proof ends before the root.")
    if found_old != old_root:
        raise ProofError(f"The tree of {old_size} leaves had the root {old_root.hex()}; the proof begins otherwise.")
    if found != root:
        raise ProofError(f"The proof leads to the root {found.hex()}, not to {root.hex()}.")


def _split(size: int) -> int:
    """Return the largest power of two that is smaller."""
    return 1 << ((size - 1).bit_length() - 1)
