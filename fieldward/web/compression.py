"""Answers are compressed where a client takes that and it saves something: gzip (RFC 1952) by RFC 9110, 12.5.3.

A compressed length tells of what is in an answer to whoever can put text of theirs beside it, have it sent again and
again, and see how long it is (BREACH). Another site's page can't have anything sent here with somebody's cookie or
token; besides, an answer that may hold a secret made for it is never compressed, and of the others the length is
blurred ([decision 28](../../docs/decisions/0028-answers-are-compressed-and-blurred.md)).
"""

import asyncio
import re
import secrets
import zlib
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from schema.transport import Answer

SMALLEST: Final = 1024
"""Bytes of a body that is compressed: a smaller one goes in one packet either way."""
LARGEST_AT_ONCE: Final = 16 * 1024
"""Bytes of a body that is compressed where it stands; a larger one by a thread, so that nobody waits for it."""
MOST_BLUR: Final = 128
"""Bytes at the most by which an answer is made longer, at random."""

_LEVEL: Final = 5
_HEAD: Final = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff"
"""A head that names a file, made at no time by no system. The name is the blur."""
_LETTERS: Final = b"fieldward-" * (MOST_BLUR // 10 + 1)
_WEIGHT: Final = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")
_LONGEST: Final = 500
"""Characters of a header that are looked at."""


async def compressed(scope: Scope, answer: Answer) -> Answer:
    """Return the answer as it goes to this client."""
    if answer.is_secret or len(answer.body) < SMALLEST:
        return answer
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
    if not takes_gzip(accepted[:_LONGEST]):
        return answer
    if len(answer.body) <= LARGEST_AT_ONCE:
        body = zipped(answer.body)
    else:
        # zlib lets others run while it works.
        body = await asyncio.to_thread(zipped, answer.body)
    return answer._replace(body=body, headers=(*answer.headers, (b"content-encoding", b"gzip")))


@lru_cache(maxsize=256)
def takes_gzip(accepted: bytes) -> bool:
    """Return whether a client with this `Accept-Encoding` takes gzip, and likes it as well as what is not encoded."""
    weights: dict[str, float] = {}
    for part in accepted.decode("latin-1").lower().split(","):
        name, _, parameter = part.partition(";")
        found = _WEIGHT.fullmatch(parameter.replace(" ", "")) if parameter.strip() else None
        if parameter.strip() and found is None:
            continue
        weights[name.strip()] = float(found[1]) if found else 1.0
    anything = weights.get("*", 0.0)
    gzip = max(weights.get("gzip", anything), weights.get("x-gzip", 0.0))
    # What is not encoded is always taken unless somebody says otherwise, and is liked no better for it.
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def zipped(body: bytes) -> bytes:
    """Return the body in gzip, of a length that is blurred by up to `MOST_BLUR` bytes."""
    engine = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = engine.compress(body) + engine.flush()
    name = _LETTERS[: secrets.randbelow(MOST_BLUR)]
    foot = (zlib.crc32(body) & 0xFFFFFFFF).to_bytes(4, "little") + (len(body) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((_HEAD, name, b"\0", packed, foot))
