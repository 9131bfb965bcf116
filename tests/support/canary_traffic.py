"""What is given beside mutations, with canaries: files that come and go, questions, keys of requests, subscriptions."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.support.canary import Canaries
from tests.support.importing import CREATE, SHOW, START
from tests.support.live import connecting
from tests.support.served import Caller
from tests.support.wqx import a_file, a_row

WITHIN_S: Final = 120
"""Seconds that a job is waited for."""
FORMATS: Final = ("CSV", "GEOJSON", "PARQUET")
CREATE_RECORD: Final = """
mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code message } } }
"""
EXPORTS: Final = {
    "createExport": "mutation($input: CreateExportInput!) { createExport(input: $input) { %s } }",
    "createArchive": "mutation($input: CreateArchiveInput!) { createArchive(input: $input) { %s } }",
    "createExportLink": "mutation($input: ExportInput!) { createExportLink(input: $input) { %s } }",
    "cancelExport": "mutation($input: ExportInput!) { cancelExport(input: $input) { %s } }",
    "deleteExport": "mutation($input: ExportInput!) { deleteExport(input: $input) { %s } }",
}
POLICY: Final = """
mutation($input: SetTrustedDocumentPolicyInput!) {
  setTrustedDocumentPolicy(input: $input) { errors { code message } }
}
"""
LOOK: Final = "query($id: ID!) { export(id: $id) { status fileName errorCode manifest filter } }"
OF_PLAIN: Final = (
    "query($word: String!) { records(search: $word) { nodes { id } } }",
    "query($word: String!) { projects(search: $word) { nodes { id } } }",
    "query($word: String!) { records(filter: {siteCode: {contains: $word}}) { nodes { id } totalCount } }",
    "query($word: String!) { records(filter: {not: {siteName: {eq: $word}}}) { totalCount } }",
    'query($word: String!) { measurementSeries(characteristic: $word, start: "2026-01-01T00:00:00Z",'
    ' end: "2027-01-01T00:00:00Z") { siteCode } }',
    "query($word: String!) { measurementGroups(by: [CHARACTERISTIC], filter: {characteristic: {eq: $word}})"
    " { nodes { count } } }",
)
"""What asks for a word that is compared with plain columns: as a parameter, which a talkative database logs."""
QUESTIONS: Final = (
    "query($word: String!) { users(filter: {email: {eq: $word}}) { nodes { id } } }",
    "query($word: String!) { records(filter: {collector: {eq: $word}}) { nodes { id } } }",
    "query($word: String!) { records(first: 1, after: $word) { nodes { id } } }",
    "query($word: String!) { changes(after: $word) { cursor } }",
    "query($word: String!) { nodes(ids: [$word]) { id } }",
)
"""What asks for a word that the database is not to see."""


@dataclass
class Traffic:
    """Does all that, as who may do everything, as who may do nothing, and as nobody.

    plain: makes the words that plain columns are asked for, and those in addresses and headers of requests, which who
        has whole requests reported has reported with them.
    kept: the canaries that were stored, and that who may read them is answered. taken: what the files of exports held.
    """

    canaries: Canaries
    owner: Caller
    watcher: Caller
    anonymous: Caller
    project: str
    plain: Canaries
    kept: set[str] = field(default_factory=set)
    taken: bytes = b""

    def everything(self) -> None:
        """Import, export, ask, and send requests with keys and names of documents."""
        self._imports()
        self._questions()
        self._keys()
        self._documents()
        self._exports()

    def _imports(self) -> None:
        word = self.canaries.plant
        good = [
            a_row(
                ACTIVITY=f"SENT-{number}",
                ACTIVITY_COMMENT=word("comment of an activity that was sent"),
                CONDUCTING_ORGANIZATION=word("collector of an activity that was sent"),
                RESULT_COMMENT=word("comment of a result that was sent"),
            )
            for number in range(3)
        ]
        bad = [
            a_row(ACTIVITY="SENT-3", DATE=word("a date that was sent"), RESULT_COMMENT=word("comment beside it")),
            a_row(ACTIVITY="", ACTIVITY_COMMENT=word("comment of a row without an activity that was sent")),
            a_row(ACTIVITY="SENT-4", RESULT_COMMENT=word("a long comment that was sent") * 1000),
            a_row(ACTIVITY="SENT-5", VALUE=word("a value that was sent"), CHARACTERISTIC=""),
        ]
        content = a_file(*good, *bad).getvalue().encode()
        shown = self._imported(content, "DONE")
        assert (shown["createdRows"], shown["rejectedRows"]) == (3, 4), shown
        self.kept |= self.canaries.within(json.dumps(good))
        broken = f"{word('a header that was sent')},{word('another')}\n{word('a cell that was sent')}\n"
        self._imported(broken.encode(), "FAILED")

    def _imported(self, content: bytes, end: str) -> dict[str, Any]:
        """Send a file in two pieces, and in ways that are refused; look through it, then import it."""
        given = {"projectId": self.project, "kind": "WQX_CSV", "fileName": "sent.csv", "size": len(content)}
        made = self.owner.run(CREATE, {"input": given}).data["createImport"]
        assert made["errors"] == [], made
        path, half = made["dataImport"]["uploadPath"], len(content) // 2
        pieces = (
            (self.watcher, "0", content, {403, 404}),
            (self.anonymous, "0", content, {401}),
            (self.owner, self.plain.plant("an offset"), content, {400}),
            (self.owner, "7", content[7:], {409}),
            (self.owner, "0", content[:half], {200}),
            (self.owner, "0", content[:half], {409}),
            (self.owner, str(half), content[half:], {200}),
        )
        for who, offset, piece, statuses in pieces:
            sent = self._put(who, path, offset, piece)
            assert sent in statuses, (who, offset, sent)
        for dry_run, ends in ((True, "CHECKED" if end == "DONE" else end), (False, end)):
            begun = self.owner.run(START, {"input": {"id": made["dataImport"]["id"], "dryRun": dry_run}})
            assert begun.data["startImport"]["errors"] == [], begun.text
            shown = self._until(SHOW, made["dataImport"]["id"], "dataImport", ("UPLOADED", "RUNNING"))
            assert shown["status"] == ends, shown
        return shown

    def _put(self, who: Caller, path: str, offset: str, piece: bytes) -> int:
        return who.http.put(path, content=piece, headers={"upload-offset": offset, **_bearer(who)}).status_code

    def _exports(self) -> None:
        word = self.canaries.plant
        for form in (*FORMATS, "ARCHIVE"):
            reason, sought = word(f"why {form} is exported"), self.plain.plant(f"what {form} is filtered by")
            given: dict[str, Any] = {"reason": reason}
            if form != "ARCHIVE":
                given |= {"format": form, "filter": {"not": {"siteCode": {"eq": sought}}}}
                self.kept |= {sought} & self.canaries.planted.keys()
            name = "createArchive" if form == "ARCHIVE" else "createExport"
            refused = self._export(self.watcher, name, {**given, "reason": word(f"why {form} is not exported")})
            assert refused["errors"], refused
            made = self._export(self.owner, name, given)
            assert made["errors"] == [], made
            self.kept |= {reason}
            self._taken(made["export"]["id"])
        # What is there no more was there.
        gone = {"id": made["export"]["id"], "reason": word("why an export is deleted")}
        assert self._export(self.owner, "deleteExport", gone)["errors"] == []
        self.kept |= {gone["reason"]}
        over = {**gone, "reason": word("why an export is not cancelled")}
        assert self._export(self.owner, "cancelExport", over)["errors"]

    def _taken(self, export: str) -> None:
        shown = self._until(LOOK, export, "export", ("PENDING",))
        assert shown["status"] == "READY", shown
        given = {"id": export}
        assert self._export(self.watcher, "createExportLink", given, "url errors { code }")["errors"]
        link = self._export(self.owner, "createExportLink", given, "url errors { code message }")["url"]
        path = urlsplit(link).path
        word = self.plain.plant
        for who, asked, statuses in (
            (self.watcher, path, {403, 404}),
            (self.anonymous, path, {401}),
            (self.anonymous, f"{path}?link={word('a link')}", {401, 403, 404}),
            (self.owner, path.rpartition("/")[0] + f"/{word('name of a file')}", {404}),
            (self.owner, path, {200}),
            (self.anonymous, link, {200}),
        ):
            response = who.http.get(asked, headers=_bearer(who))
            assert response.status_code in statuses, (asked, response.status_code)
            if response.status_code == 200:
                self.taken += response.content

    def _export(self, who: Caller, name: str, given: Mapping[str, Any], shown: str = "") -> dict[str, Any]:
        shown = shown or "export { id } errors { code message }"
        reply = who.run(EXPORTS[name] % shown, {"input": given})
        found: dict[str, Any] | None = (reply.data or {}).get(name)
        return found or {"errors": reply.errors}

    def _until(self, query: str, subject: str, name: str, passing: tuple[str, ...]) -> dict[str, Any]:
        """Return what is shown of something once a job is through with it."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            found: dict[str, Any] = self.owner.run(query, {"id": subject}).data[name]
            if found["status"] not in passing:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def _questions(self) -> None:
        asked = [*((one, self.canaries) for one in QUESTIONS), *((one, self.plain) for one in OF_PLAIN)]
        for question, canaries in asked:
            for name, who in (("owner", self.owner), ("watcher", self.watcher), ("nobody", self.anonymous)):
                word = canaries.plant(f"asked by {name}: {question}")
                who.run(question, {"word": word})
                literal = question.partition("{")[2].replace("$word", f'"{word}"')
                who.run(f"{{{literal}")

    def _keys(self) -> None:
        """Send a mutation twice with its key, the key with something else, and keys that are none."""
        word = self.canaries.plant
        key, comment = word("a key of a request"), word("comment under a key")
        first, again = (self._created(key, comment=comment) for _ in range(2))
        assert first["errors"] == [], first
        assert again == first
        self.kept |= {comment}
        assert self._created(key, comment=word("comment under a key that was used"))["errors"]
        for wrong in (f'"{word("half a key")}', f"{word('a key')}, {word('another')}", word("a long key") * 20):
            self._created(wrong, comment=word("comment under a key that is none"))

    def _created(self, key: str, **given: str) -> Any:
        record = {"projectId": self.project, "siteCode": "KEY", "collectedAt": "2026-02-03T04:05:06Z"}
        body = {"query": CREATE_RECORD, "variables": {"input": {**record, "medium": "WATER", **given}}}
        answer = self._sent(self.owner, body, **{"idempotency-key": key})
        return (answer.get("data") or {}).get("createRecord") or {"errors": answer["errors"]}

    def _documents(self) -> None:
        """Name documents that are not there, and one that is kept for a while."""
        word = self.canaries.plant
        text = f"{{ viewer {{ role }} }} # {word('comment in a document')}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        kept = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
        for body in (
            {"documentId": word("a document's id")},
            {"documentId": f"sha256:{word('a digest')}"},
            {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": word("a digest of a persisted query")}}},
            {"query": text, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
            {"query": text, "extensions": kept},
            {"extensions": kept},
        ):
            for who in (self.owner, self.watcher, self.anonymous):
                self._sent(who, body)
        # Of programs, since people go on asking what nobody registered.
        for who in (self.watcher, self.owner):
            given = {"programs": "TRUSTED_ONLY", "people": "ANY", "reason": word("why documents are trusted")}
            reply = who.run(POLICY, {"input": given})
        assert reply.data["setTrustedDocumentPolicy"]["errors"] == [], reply.text
        self.kept |= {given["reason"]}

    def _sent(self, who: Caller, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
        answer: dict[str, Any] = who.http.post("/graphql", json=body, headers={**headers, **_bearer(who)}).json()
        return answer

    async def subscriptions(self) -> None:
        """Follow what changes while something does, and say over a connection what is wrong."""
        word = self.canaries.plant
        url = str(self.owner.http.base_url).rstrip("/")
        async with connecting(url) as live:
            await live.init(self.owner.token)
            await live.follow()
            comment = word("comment that is followed")
            created = await asyncio.to_thread(self._created, "followed", comment=comment)
            assert created["errors"] == [], created
            self.kept |= {comment}
            while comment not in json.dumps(await live.page()):
                pass
            await live.subscribe(id=word("id of an operation"), after=word("a cursor"))
            await live.hear()
            await live.subscribe(
                f'subscription {{ changes(after: "{word("a literal cursor")}") {{ cursor }} }}', id="2"
            )
            await live.hear()
            await live.send({"type": word("type of a message"), "payload": word("a payload")})
            assert (await live.closed())[0] == 4400
        for said in (
            {"type": "connection_init", "payload": {"Authorization": f"Bearer {word('a token in a payload')}"}},
            {"type": "connection_init", "payload": {word("a name in a payload"): word("a value")}},
            {"type": "connection_init", "payload": word("a payload that is a text")},
            {"type": "subscribe", "id": "1", "payload": {"query": word("too early")}},
        ):
            async with connecting(url) as live:
                await live.send(said)
                await live.subscribe(f"subscription {{ {word('a field')} }}")
                await live.closed(longest_s=15)


def _bearer(who: Caller) -> dict[str, str]:
    who.freshen()
    return {} if who.token is None else {"authorization": f"Bearer {who.token}"}
