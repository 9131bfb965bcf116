"""How many requests a process works on at a time. Whoever comes while that many are at work is told to come again.

What is told costs nearly nothing: it is said before anything of the request is read (`fieldward/web/protocol.py`), so
that a flood leaves the process to those who are in. A request counts from when all of it is there until it is answered:
who sends slowly takes no place.
"""

from typing import Final

import orjson

from auth.errors import Code
from resolvers.places import SAID, CrowdedError, Places
from schema.negotiation import JSON
from schema.transport import RefusedError

BODY: Final = orjson.dumps({"errors": [{"message": SAID, "extensions": {"code": Code.UNAVAILABLE}}]})
MEDIA_TYPE: Final = JSON


class Admission(Places):
    """The places of a process: `with` it, a request has one."""

    def __enter__(self) -> None:
        """Take a place. Raises `RefusedError` where there is none."""
        try:
            super().__enter__()
        except CrowdedError as error:
            wait = b"%d" % (error.retry_after_s or 1)
            raise RefusedError(503, SAID, Code.UNAVAILABLE, headers=((b"retry-after", wait),)) from None
