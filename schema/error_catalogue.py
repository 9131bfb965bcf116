"""The catalogue of errors: of each code and detail what it means, where it stands, and what a client does about it.

What is printed from it is `docs/errors.md`. A code or a detail that is missing here fails a test.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from auth.errors import Code, FieldwardError
from schema.mutation import IN_PAYLOAD


class Again(StrEnum):
    """Whether the same request may be sent again."""

    NEVER = "no: it would be refused again"
    MENDED = "once what is wrong is mended"
    LATER = "yes, after the seconds of `retryAfter`, or else of a few"
    BY_KEY = "yes, with the same `Idempotency-Key` or client id; without one, look first whether it happened"


@dataclass(frozen=True, slots=True)
class ErrorFact:
    """What is said of a code. means: what went wrong. remedy: what a client does. occurs: where, in words.

    statuses: those with which a request as a whole is refused for it; none where that does not happen.
    """

    means: str
    remedy: str
    occurs: str
    again: Again
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DetailFact:
    """What is said of a detail, which tells apart what a program does something different about."""

    means: str
    remedy: str


CODES: Final[Mapping[Code, ErrorFact]] = {
    Code.UNAUTHENTICATED: ErrorFact(
        "Nobody is signed in; or the token, the session, the person, the program or the device behind it is not good"
        " any more.",
        "Get a new access token, or have the person sign in. If that is refused as well, ask an administrator.",
        "Any field but those of signing in; the files of imports and exports. A mutation is null then.",
        Again.MENDED,
        (401,),
    ),
    Code.FORBIDDEN: ErrorFact(
        "You are known, and may not do or read this. `permission` names what is missing, and `scope` where:"
        " ORGANIZATION or a project's id. A field that may not be read is null, and named once, however many rows there"
        " are.",
        "Use the rest of the answer. Ask who administers the project for the permission, if you need it.",
        "Fields and mutations; filters, orders and groups by what you may not read; looking as another; the files of"
        " imports and exports.",
        Again.NEVER,
        (403,),
    ),
    Code.REAUTHENTICATE: ErrorFact(
        "You may do this, and proved who you are too long ago.",
        "Have the person prove it by the mutation `reauthenticate`, and send the request again. Programs are not"
        " asked.",
        "Mutations whose description says that they take a fresh sign-in.",
        Again.MENDED,
    ),
    Code.NOT_FOUND: ErrorFact(
        "There is no such row for you: it never was, was deleted, or is not yours to know of. The three look the same.",
        "Forget the id, or ask for what you may see.",
        "Mutations that name a row; an address that is none, the files of imports and exports among them. A query"
        " answers null instead.",
        Again.NEVER,
        (404,),
    ),
    Code.CONFLICT: ErrorFact(
        "The data is not, or no longer, as you believe: another version, an id or a code that is taken, a state that"
        " forbids it, a key that was used.",
        "Read the row again, decide anew, and send the version that you saw then. See `detail` where there is one.",
        "Mutations; what was shown once and is asked for again; cursors of `changes`; the files of imports and of"
        " exports.",
        Again.MENDED,
        (409,),
    ),
    Code.INVALID_INPUT: ErrorFact(
        "The request is no GraphQL, or a value is not what was expected. `field` is the path of the input. The message"
        " says what was expected, and never repeats the value.",
        "Mend the request. It is a programming error, or what somebody typed.",
        "Requests, their headers, operations, variables and mutations.",
        Again.MENDED,
        (400, 405, 406, 408, 413, 415),
    ),
    Code.RATE_LIMITED: ErrorFact(
        "Too much was asked for, or tried in vain, in a while. `retryAfter` says how many seconds to wait.",
        "Wait that long, and then some at random. Ask for less at once, less often: see the header `RateLimit`.",
        "Any request; sign-ins and other guesses, which are slowed down apart.",
        Again.LATER,
        (429,),
    ),
    Code.TOO_COMPLEX: ErrorFact(
        "The operation is too deep, too wide, or asks for too many rows at once. The message says what of, and how much"
        " is allowed.",
        "Ask for smaller pages, or split the operation.",
        "Operations, before they run.",
        Again.MENDED,
        (400,),
    ),
    Code.PERSISTED_QUERY_NOT_FOUND: ErrorFact(
        "The operation is only named, by `documentId` or the hash of a persisted query, and nothing is known under that"
        " name: it was not registered, was removed, or is kept no more.",
        "Send its text along; clients of automatic persisted queries do so by themselves. What a build registers is"
        " registered once more.",
        "Requests without a text.",
        Again.MENDED,
        (400,),
    ),
    Code.UNTRUSTED_DOCUMENT: ErrorFact(
        "Your organization runs trusted documents alone, and this operation is none. Its trail has an entry.",
        "Register it with your client's build, by `registerTrustedDocuments`, and send it letter by letter as it was"
        " registered.",
        "Requests, before they run, over HTTP and over WebSockets.",
        Again.MENDED,
        (403,),
    ),
    Code.UNAVAILABLE: ErrorFact(
        "Something that the service stands on is away or slow: the database, the keystore, the key provider; or it has"
        " too much to do. Where nothing was changed, the message says so.",
        "Wait as many seconds as `retryAfter` says, or else some, longer each time, and send it again; a mutation with"
        " its `Idempotency-Key`.",
        "Any request and any field.",
        Again.BY_KEY,
        (503,),
    ),
    Code.UNKNOWN_OUTCOME: ErrorFact(
        "The connection to the database was lost while a change was being committed: it happened or it did not.",
        "Send the same again with the same `Idempotency-Key` or client id: it is done once. Without one, look. Of an"
        " upload, ask how much is there.",
        "Mutations; uploads.",
        Again.BY_KEY,
        (503,),
    ),
    Code.INTERNAL: ErrorFact(
        "Something went wrong that was not foreseen. Nothing more is said than `requestId`, by which operators find it"
        " in the log.",
        "Tell your operator the request's id. What the field would have held is null.",
        "Any request and any field.",
        Again.BY_KEY,
        (500,),
    ),
}

DETAILS: Final[Mapping[str, DetailFact]] = {
    "DEVICE_BLOCKED": DetailFact("The device was blocked.", "Delete what it holds of Fieldward's, and stop."),
    "DEVICE_NOT_ENROLLED": DetailFact(
        "The device has no key, or not the one that it proved.", "Have it enrolled by a code."
    ),
    "DEVICE_PROOF_MISSING": DetailFact("The device's proof is not there.", "Send `deviceProof`."),
    "DEVICE_PROOF_REFUSED": DetailFact(
        "The proof is not by the device's key, or not for this.", "Make it for this very request, by its own key."
    ),
    "DEVICE_PROOF_STALE": DetailFact(
        "The proof was not made just now, or was used before.", "Set the device's clock, and make a new one each time."
    ),
    "IDEMPOTENCY_KEY_IN_USE": DetailFact(
        "Another request with this key is being worked on.", "Wait a moment, and send the same again."
    ),
    "IDEMPOTENCY_KEY_REUSED": DetailFact(
        "The key was used for another operation, or with other variables. Nothing was done.",
        "Give each thing that you do a new key.",
    ),
    "QUOTA_SPENT": DetailFact(
        "You asked for more than your quota in a while. Nothing was run.", "Wait as `Retry-After` says."
    ),
    "SHOWN_ONCE": DetailFact(
        "A secret was in the first answer to this key, and is kept nowhere.",
        "If that answer is lost, have a new one made, and end the first.",
    ),
    "TOO_MANY_AT_ONCE": DetailFact(
        "As many of your operations are being worked on as may be at a time. Nothing was run.",
        "Wait for one of them to end, or as `Retry-After` says. Send fewer side by side.",
    ),
    "SYNC_ANEW": DetailFact(
        "What changed since this cursor can't be told any more, or not all of it: the cursor is older than what is kept"
        " of the trail, or of another server.",
        "Begin anew: take a cursor, then read all there is, then go on from the cursor.",
    ),
}


def details() -> Mapping[str, Code]:
    """Return the details that the code can answer, with their codes."""
    return {kind.detail: kind.code for kind in _kinds(FieldwardError) if kind.detail is not None}


def is_in_payload(code: Code) -> bool:
    """Return whether a mutation answers the code in its payload's `errors`."""
    return code in IN_PAYLOAD


def _kinds(kind: type[FieldwardError]) -> Iterator[type[FieldwardError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _kinds(one)
