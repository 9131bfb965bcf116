"""Who waits for a connection, and when nobody else may.

Whoever came first is served first. Where the first has waited long already, there is more to do than gets done, and
whoever came then would wait as long or longer, perhaps in vain: they are told so at once, and come again when there is
less. Of each organization one may wait all the same, so that nobody's flood keeps another one out.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from models.deadline import has_deadline
from models.errors import CrowdedError

LONGEST_WAIT_S: Final = 5
"""Seconds that anybody waits for a connection before they are told to come back."""
CROWDED_AFTER_S: Final = 1.0
"""Seconds that the first in a line has waited when others are told to come again. All who are in it then are served
long before `LONGEST_WAIT_S`: a process has only so many places for requests (`fieldward/web/admission.py`).
"""
WAIT_S: Final = 0.001
"""Seconds from which on taking a connection is a wait."""


class Line:
    """Those who wait for a connection of one pool, in the order in which they came.

    said: what is told to who may not join; None where everybody may. waits, waited_s: how often somebody waited so far,
        and for how long in all.
    """

    def __init__(self, said: str | None = None) -> None:
        self._said = said
        self.waits = 0
        self.waited_s = 0.0
        self._began: dict[object, float] = {}
        self._operations: Counter[UUID | None] = Counter()

    @property
    def length(self) -> int:
        """How many wait now."""
        return len(self._began)

    @contextmanager
    def waiting(self, organization_id: UUID | None) -> Iterator[None]:
        """Be in the line, for somebody of an organization, while the block runs.

        An operation may be refused; what works for nobody who waits for an answer, such as a job, never is, and takes
        nobody the place that each organization has.

        Raises:
            CrowdedError: whoever is first has waited too long already. Nothing was begun.
        """
        began = time.perf_counter()
        first = next(iter(self._began.values()), began)
        is_operation = has_deadline()
        is_crowded = began - first > CROWDED_AFTER_S and self._operations[organization_id] > 0
        if self._said is not None and is_crowded and is_operation:
            raise CrowdedError(self._said)
        place = object()
        self._began[place] = began
        self._operations[organization_id] += is_operation
        try:
            yield
        finally:
            del self._began[place]
            self._operations[organization_id] -= is_operation
            if not self._operations[organization_id]:
                del self._operations[organization_id]
            waited_s = time.perf_counter() - began
            if waited_s >= WAIT_S:
                self.waits += 1
                self.waited_s += waited_s
