"""Searches every place that something may have been written to in a run."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from auth.opaque_token import ExportToken, OpaqueToken, RefreshToken, ServiceToken
from fieldward.embedded_roles import OWNER, SERVICE
from tests.support.canary import Scan, forms
from tests.support.canary_story import Story

TOKEN: Final = re.compile(r'"(?:accessToken|refreshToken|token)":"([^"]+)"|\?link=([\w-]+)')
OPAQUE: Final[Mapping[str, type[OpaqueToken]]] = {
    kind.prefix: kind for kind in (RefreshToken, ServiceToken, ExportToken)
}
SIGNING_KEYS: Final = ("audit-signing-key.pem",)
"""Of the trail's heads."""


async def search(story: Story, when: str, *, is_running: bool) -> None:
    """Search every place."""
    made = story.house
    scan = Scan(_words(story), story.canaries)
    if is_running:
        await made.sql("checkpoint")
        await made.sql("select pg_switch_wal()")
        for name in ("fieldward", "fieldward_keys", "postgres"):
            scan.content(f"dump of {name}", await asyncio.to_thread(made.dump, name))
        for view in ("pg_stat_activity", "pg_settings", "pg_stat_statements", "pg_file_settings", "pg_prepared_xacts"):
            if await made.sql("select from pg_class where relname = $1", view):
                scan.content(view, "\n".join(map(str, await made.sql(f"select * from {view}"))).encode())
        for pid in made.pids():
            for part in ("cmdline", "environ"):
                _scan_process(scan, pid, part)
    else:
        scan.content("what was told", "\n".join(story.notified).encode())
    passwords, keys = made.data / "database.json", ("key-encryption-key", *SIGNING_KEYS)
    spared: Mapping[Path, list[str]] = {
        passwords: [f"database password {role}" for role in ("postgres", OWNER, SERVICE)],
        **{made.data / name: [name] for name in keys},
    }
    for directory in (made.data, made.temporary, made.output):
        scan.tree(directory, spared=spared)
    story.hits += scan.hits
    story.scanned[when] = (scan.places, scan.size)
    told = f"canaries: {len(story.canaries.planted)}, places: {scan.places}, bytes: {scan.size}, {when}"
    print(told, "requests:", sum(story.writing.counts.values()) if story.writing else 0)


def _scan_process(scan: Scan, pid: int, part: str) -> None:
    try:
        content = Path(f"/proc/{pid}/{part}").read_bytes()
    except OSError:
        return
    # The operator hands the service the URLs of the databases, with their passwords, by its environment.
    names = [name for name in scan.words if part == "environ" and name.startswith("database password")]
    scan.content(f"{part} of {pid}", content, spared=names)


def _words(story: Story) -> dict[str, Mapping[str, bytes]]:
    """Return what is sought: the canaries, tokens, keys, and passwords of the database."""
    made = story.house
    words: dict[str, Mapping[str, bytes]] = {"canary": forms(story.canaries.marker)}
    tokens = {
        token
        for answers in made.told.values()
        for text in answers
        for found in TOKEN.findall(text)
        for token in found
        if token
    }
    kinds: dict[str, list[str]] = {}
    for token in sorted(tokens):
        kinds.setdefault(token[:4], []).append(token)
    assert {*OPAQUE, "eyJh"} == set(kinds), set(kinds)
    for kind, found in kinds.items():
        for number, token in enumerate(found[:3]):
            words[f"token {kind} {number}"] = _token_forms(kind, token)
    for role, password in json.loads((made.data / "database.json").read_text()).items():
        words[f"database password {role}"] = {"plain": password.encode()}
    key = (made.data / "key-encryption-key").read_bytes()
    words["key-encryption-key"] = {"raw": key, "hexadecimal": key.hex().encode()}
    for name in SIGNING_KEYS:
        words[name] = {"base64": (made.data / name).read_bytes().splitlines()[1]}
    return words


def _token_forms(kind: str, token: str) -> dict[str, bytes]:
    if kind == "eyJh":
        return {"signature": token.rpartition(".")[2].encode()}
    secret = OPAQUE[kind].parse(token).secret
    return {"plain": token.encode(), "secret": secret, "secret, hexadecimal": secret.hex().encode()}
