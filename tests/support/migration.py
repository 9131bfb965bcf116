"""What a migration does to whoever reads and writes meanwhile: by its text, and by the locks that it holds."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from fieldward.embedded import Endpoint
from tests.support.world import connect

_FUNCTION: Final = re.compile(
    r"create\s+(?:or\s+replace\s+)?(?:function|procedure)\b.*?\bas\s+(\$\w*\$).*?\1", re.IGNORECASE | re.DOTALL
)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_CREATED: Final = re.compile(r'create\s+table\s+(?:if\s+not\s+exists\s+)?(?:"?public"?\.)?"?(\w+)', re.IGNORECASE)
_NAME: Final = r'(?:only\s+)?(?:"?public"?\.)?"?(?P<table>\w+)"?'
_ALTERED: Final = re.compile(
    rf"\balter\s+table\s+(?:if\s+exists\s+)?{_NAME}\s+(?P<actions>[^;]*)", re.IGNORECASE | re.DOTALL
)
_INNERMOST: Final = re.compile(r"\([^()]*\)")
_CONSTRAINT: Final = r"(?:check|foreign\s+key|unique|primary\s+key|exclude)\b"
_COLUMN: Final = (
    rf"add\s+(?!constraint\b|{_CONSTRAINT})(?:column\s+)?(?:if\s+not\s+exists\s+)?"
    r'(?!(?:column|if)\b)(?:"[^"]+"|\w+)\s+'
)
_SERIAL: Final = r"(?:small|big)?serial\d?\b"
_DEFAULT: Final = re.compile(
    rf"{_COLUMN}.*?\bdefault\s+(?P<value>.*?)"
    r"(?:\b(?:not\s+null|null|constraint|check|references|unique|primary\s+key|collate|generated)\b|$)",
    re.IGNORECASE | re.DOTALL,
)
_CAST: Final = re.compile(
    r'::\s*[\w".]+(?:\s+(?:varying|precision|with(?:out)?\s+time\s+zone))?(?:\s*\([\d\s,]*\))?', re.IGNORECASE
)
_CALL: Final = re.compile(
    r'(?<!\w)(?!(?:now|(?:transaction|statement)_timestamp|current_\w+|localtime(?:stamp)?)\b)\w+"?\s*\(', re.IGNORECASE
)
"""A call of anything but what is the same in all of a transaction, or of a statement."""

RULES: Final[Sequence[tuple[str, str]]] = (
    (
        rf"create\s+(?:unique\s+)?index\s+(?!concurrently)(?:if\s+not\s+exists\s+)?(?:\S+\s+)?on\s+{_NAME}",
        "writes wait while an index is built",
    ),
    (rf"drop\s+table\s+(?:if\s+exists\s+)?{_NAME}", "the version before asks for the table"),
    (rf"truncate\s+(?!on\s)(?:table\s+)?{_NAME}", "nothing is emptied by a migration"),
    (rf"lock\s+table\s+{_NAME}", "a lock is taken that no statement needs"),
    (rf"(?:cluster|vacuum\s+full)\s+{_NAME}", "the table is rewritten"),
    (
        rf'\bupdate\s+{_NAME}(?:\s+(?:as\s+)?"?\w+"?)?\s+set\b',
        "all rows are changed at once: a job does it in batches",
    ),
    (rf"\bdelete\s+from\s+{_NAME}", "rows go by retention, in batches"),
)
"""What a migration does not do to a table that was there before it, and why."""

ACTIONS: Final[Sequence[tuple[str, str]]] = (
    (r"alter\s+(?:column\s+)?\S+\s+(?:set\s+data\s+)?type\b", "a type is rewritten"),
    (r"alter\s+(?:column\s+)?\S+\s+set\s+not\s+null\b", "all rows are looked at under the table's lock"),
    (
        rf"add\s+(?:constraint\s+\S+\s+)?{_CONSTRAINT}(?!.*\b(?:not\s+valid|using\s+index(?!\s+tablespace))\b)",
        "a constraint looks at all rows under the table's lock: add it NOT VALID, and validate it after",
    ),
    (
        rf"{_COLUMN}.*\b(?:check|references|unique|primary\s+key)\b",
        "a column's constraint is never NOT VALID: add it by itself, and validate it after",
    ),
    (
        rf"{_COLUMN}(?:{_SERIAL}|.*\bgenerated\s+(?:always|by\s+default)\s+as\b)",
        "what is worked out for each row rewrites the table",
    ),
    (
        rf"{_COLUMN}(?!{_SERIAL}|.*\b(?:default|generated)\b).*\bnot\s+null\b",
        "what the version before writes lacks the column",
    ),
    (r"drop\s+(?!constraint\b)", "the version before asks for the column"),
    (r"rename\b", "the version before knows it by its old name"),
)
"""What it does not do to one by ALTER TABLE, each as it begins, without what stands in parentheses."""


@dataclass(frozen=True, slots=True)
class Objection:
    """A statement that holds others up, or that the version before could not live with."""

    table: str
    why: str
    text: str


def objections(sql: str) -> Iterator[Objection]:
    """Yield what is wrong with a migration's text. What it does to tables that it makes is up to it."""
    text = _TEXT.sub("''", _COMMENT.sub(" ", _FUNCTION.sub(" ", sql)))
    made = {name.lower() for name in _CREATED.findall(text)}
    for pattern, why in RULES:
        for found in re.finditer(pattern, text, re.IGNORECASE):
            if found["table"].lower() not in made:
                yield Objection(found["table"], why, " ".join(found[0].split())[:120])
    for altered in _ALTERED.finditer(text):
        if altered["table"].lower() not in made:
            for action in _apart(altered["actions"]):
                for why in _against(action):
                    yield Objection(altered["table"], why, action[:120])


def _apart(actions: str) -> Iterator[str]:
    """Yield what one ALTER TABLE does: a comma within parentheses or brackets parts nothing."""
    depth, begun = 0, 0
    for place, sign in enumerate(actions):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            yield " ".join(actions[begun:place].split())
            begun = place + 1
    yield " ".join(actions[begun:].split())


def _against(action: str) -> Iterator[str]:
    """Yield why a migration does not do that to a table that was there."""
    default = _DEFAULT.match(action)
    if default is not None and _CALL.search(_CAST.sub("", default["value"])):
        yield "a default that is worked out for each row rewrites the table"
    bare = action
    while _INNERMOST.search(bare):
        bare = _INNERMOST.sub(" ", bare)
    for pattern, why in ACTIONS:
        if re.match(pattern, bare, re.IGNORECASE):
            yield why


@dataclass
class Watched:
    """Which tables were one's alone, and for how many seconds at the longest; how long a reader and a writer waited.

    late_s: how long who takes no lock.
    """

    held_s: dict[str, float] = field(default_factory=dict)
    reader_s: float = 0.0
    writer_s: float = 0.0
    late_s: float = 0.0
    reads: int = 0
    writes: int = 0


_LOCKED: Final = """
    select l.pid, c.relname from pg_locks l join pg_class c on c.oid = l.relation
     where l.mode = 'AccessExclusiveLock' and l.granted and c.relkind = 'r'
       and l.database = (select oid from pg_database where datname = current_database())
"""


@asynccontextmanager
async def watching(superuser: Endpoint, *, read: str, write: str, every_s: float = 0.002) -> AsyncIterator[Watched]:
    """Watch the locks while the block runs, and read and write all the time, each statement by itself.

    Tables without rows count as others do: only who is there before the block is told apart by the caller.
    """
    watched, over = Watched(), asyncio.Event()
    since: dict[tuple[int, str], float] = {}

    async def look(connection: asyncpg.Connection) -> None:
        while not over.is_set():
            now = time.perf_counter()
            found = {(row["pid"], row["relname"]) for row in await connection.fetch(_LOCKED)}
            for key in found:
                held = now - since.setdefault(key, now)
                watched.held_s[key[1]] = max(watched.held_s.get(key[1], 0.0), held)
            for key in since.keys() - found:
                del since[key]
            await asyncio.sleep(every_s)

    connections = [await connect(superuser) for _ in range(4)]
    tasks = [
        asyncio.create_task(look(connections[0])),
        asyncio.create_task(_counted(connections[1], read, over, watched, "read", every_s)),
        asyncio.create_task(_counted(connections[2], write, over, watched, "write", every_s)),
        asyncio.create_task(_counted(connections[3], "select 1", over, watched, "nothing", every_s)),
    ]
    try:
        yield watched
    finally:
        over.set()
        await asyncio.gather(*tasks)
        for one in connections:
            await one.close()


async def _counted(
    connection: asyncpg.Connection, text: str, over: asyncio.Event, watched: Watched, kind: str, every_s: float
) -> None:
    while not over.is_set():
        began = time.perf_counter()
        await connection.execute(text)
        took = time.perf_counter() - began
        if kind == "read":
            watched.reads, watched.reader_s = watched.reads + 1, max(watched.reader_s, took)
        elif kind == "nothing":
            watched.late_s = max(watched.late_s, took)
        else:
            watched.writes, watched.writer_s = watched.writes + 1, max(watched.writer_s, took)
        await asyncio.sleep(every_s)


async def tables_with_rows(connection: asyncpg.Connection) -> list[str]:
    """Return the tables of the schema that have rows."""
    names = await connection.fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    found = [row["relname"] for row in names]
    return [name for name in found if await connection.fetchval(f'select exists (select from "{name}")')]


@asynccontextmanager
async def without_triggers(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Take a superuser's hands off the triggers that are always enabled, and put them back as they were."""
    found = await connection.fetch(
        "select c.relname, t.tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid"
        " where t.tgenabled = 'A' and not t.tgisinternal and c.relnamespace = 'public'::regnamespace"
    )
    for row in found:
        await connection.execute(f'alter table "{row["relname"]}" disable trigger "{row["tgname"]}"')
    await connection.execute("set session_replication_role = replica")
    try:
        yield
    finally:
        await connection.execute("set session_replication_role = origin")
        for row in found:
            await connection.execute(f'alter table "{row["relname"]}" enable always trigger "{row["tgname"]}"')


async def copy_rows(source: asyncpg.Connection, target: asyncpg.Connection) -> int:
    """Copy the rows of one database to another of an older schema, as far as that has tables and columns for them.

    Both are a superuser's, and the other is `without_triggers`. Returns how many rows there are then.
    """
    columns = (
        "select c.relname, array_agg(quote_ident(a.attname) order by a.attnum) as names from pg_class c"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''"
        " where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace group by 1"
    )
    theirs = {row["relname"]: set(row["names"]) for row in await source.fetch(columns)}
    copied = 0
    for row in await target.fetch(columns):
        table, names = row["relname"], [one for one in row["names"] if one in theirs.get(row["relname"], ())]
        if not names or "migration" in table:
            continue
        content = bytearray()

        async def take(piece: bytes, content: bytearray = content) -> None:
            content.extend(piece)

        listed = ", ".join(names)
        await source.copy_from_query(f'select {listed} from "{table}"', output=take, format="binary")

        async def give(content: bytearray = content) -> AsyncIterator[bytes]:
            yield bytes(content)

        unquoted = [one.strip('"') for one in names]
        done = await target.copy_to_table(table, source=give(), columns=unquoted, format="binary")
        copied += int(done.split()[-1])
    return copied
