"""A server seals its trail by itself, publishes its heads, has witnesses cosign them, and never takes one back."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest

from models.ledger.add_checkpoint import AddCheckpoint
from models.ledger.checkpoint import CheckpointError, Head, HeadSigner, Note, VerifierKey
from tests.support.served import Caller
from tests.support.server import ROOT, Server, environment, free_port, start_demo

NAME: Final = "audit.acceptance.example"
SEALED_WITHIN_S: Final = 5.0
PUBLISHED_WITHIN_S: Final = 60.0
NEWEST: Final = "{ auditEntries(first: 1) { nodes { id } } }"
PROOF: Final = "query($id: ID!) { auditTrail { size } node(id: $id) { ... on AuditEntry { proof { leafIndex } } } }"
WITNESS: Final = re.compile(r"^Witness (\S+)\nServing on (\S+)\n")

T = TypeVar("T")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of this test's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def until(look: Callable[[], T | None], *, within_s: float, what: str) -> T:
    """Return what a look finds, once it finds something."""
    deadline = time.monotonic() + within_s
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what} took longer than {within_s} s"
        time.sleep(0.05)
    return found


def command(directory: Path, *arguments: str, code: int = 0) -> Any:
    """Run a command of `audit`, and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", "audit", *arguments, "--json"],
        cwd=ROOT,
        env=environment(directory, FIELDWARD_AUDIT_NAME=NAME),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


@contextmanager
def witness(directory: Path, name: str, log_key: str) -> Iterator[tuple[VerifierKey, str]]:
    """Run a witness as a process, and yield its key and URL."""
    log = directory / f"{name}.log"
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fieldward", "audit", "witness", "--name", f"witness.example/{name}"),
                *("--key", str(directory / f"{name}.pem"), "--state", str(directory / f"{name}.state")),
                *("--logs-below", log_key, "--port", str(port)),
            ],
            cwd=ROOT,
            env=environment(directory),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        key, url = until(lambda: WITNESS.match(log.read_text()), within_s=30, what="A witness's start").groups()
        with httpx.Client(trust_env=False) as http:
            until(lambda: _reached(http, url), within_s=30, what="A witness's start")
        yield VerifierKey.parse(key), url
    finally:
        process.terminate()
        assert process.wait(30) in {0, 130, -15}, log.read_text()


def _reached(http: httpx.Client, url: str) -> bool | None:
    try:
        return http.get(f"{url}/key").status_code == 200 or None
    except httpx.TransportError:
        return None


@contextmanager
def running(directory: Path, **more: str) -> Iterator[tuple[Server, httpx.Client]]:
    """Run the demo, with what this test sets."""
    more = {"FIELDWARD_AUDIT_NAME": NAME, "FIELDWARD_AUDIT_PUBLISH_INTERVAL_S": "1", **more}
    server = start_demo(directory, free_port(), **more)
    try:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
            yield server, http
    finally:
        assert server.stop() == 0


def signed_in(http: httpx.Client, server: Server, role: str) -> Caller:
    """Sign somebody in."""
    email, password = server.sign_ins[role]
    answer = Caller(http).run(
        "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken } }",
        {"input": {"email": email, "password": password}},
    )
    return Caller(http, answer.data["signIn"]["accessToken"])


def newest(auditor: Caller) -> str:
    """Return the newest entry's id. To look is an entry as well, so that each look finds another."""
    (entry,) = auditor.run(NEWEST).data["auditEntries"]["nodes"]
    return str(entry["id"])


def sealed(auditor: Caller, entry_id: str) -> int | None:
    """Return how many entries are sealed, if this one is among them."""
    data = auditor.run(PROOF, {"id": entry_id}).data
    if data["node"]["proof"] is None:
        return None
    size: int = data["auditTrail"]["size"]
    return size


def cosigned(http: httpx.Client, keys: list[VerifierKey], more_than: int = 0) -> Note | None:
    """Return the heads' checkpoint at its public address, if all of these have signed it and it is that large."""
    response = http.get("/audit/checkpoint/heads")
    if response.status_code != 200:
        return None
    note = Note.parse(response.text)
    try:
        for key in keys:
            key.verify(note)
    except CheckpointError:
        return None
    return note if Head.parse(note.text).size > more_than else None


def test_a_server_seals_publishes_has_heads_cosigned_and_takes_none_back(directory: Path) -> None:
    demo, outside = directory / "demo", directory / "outside"
    outside.mkdir()
    log_key = VerifierKey.parse(command(demo, "key")["verifier_key"])
    heads_key = VerifierKey(f"{NAME}/heads", log_key.type, log_key.public)
    with ExitStack() as stack:
        witnesses = [stack.enter_context(witness(directory, name, str(log_key))) for name in ("w1", "w2")]
        keys = [key for key, _ in witnesses]
        settings = {
            "FIELDWARD_AUDIT_PUBLISH_URL": outside.as_uri(),
            "FIELDWARD_AUDIT_WITNESSES": ",".join(f"{key} {url}" for key, url in witnesses),
        }
        with running(demo, **settings) as (server, http):
            auditor, manager = [signed_in(http, server, role) for role in ("auditor", "manager")]
            _sealed_in_time(auditor, manager)
            note = until(lambda: cosigned(http, [heads_key, *keys]), within_s=PUBLISHED_WITHIN_S, what="Cosigning")
            first = Head.parse(note.text)
            assert http.get("/audit/verifier-key").text.strip() == str(log_key)
            published = outside / NAME / "heads.checkpoint"
            until(
                lambda: (
                    (published.exists() and Head.parse(Note.parse(published.read_text()).text).size >= first.size)
                    or None
                ),
                within_s=PUBLISHED_WITHIN_S,
                what="Publishing",
            )
            heads_key.verify(Note.parse(published.read_text()))

        # Who has the log's key and rewrites its tree finds no witness for it.
        signer = HeadSigner.from_pem((demo / "audit-signing-key.pem").read_bytes())
        with httpx.Client(trust_env=False) as http:
            for head, proof in (
                (Head(heads_key.name, first.size, bytes(32)), []),
                (Head(heads_key.name, first.size + 50, bytes(32)), [bytes(32)] * 3),
                (Head(heads_key.name, first.size - 1, bytes(32)), []),
            ):
                for _, url in witnesses:
                    asked = str(AddCheckpoint(min(first.size, head.size), proof, signer.sign(head)))
                    assert http.post(f"{url}/add-checkpoint", content=asked).status_code in {409, 422}

        # Started again it goes on, and so do the witnesses.
        with running(demo, **settings) as (server, http):
            auditor, manager = [signed_in(http, server, role) for role in ("auditor", "manager")]
            size = _sealed_in_time(auditor, manager)
            until(
                lambda: cosigned(http, [heads_key, *keys], more_than=first.size),
                within_s=PUBLISHED_WITHIN_S,
                what="Cosigning after a restart",
            )
        command(demo, "seal")

        # An older database comes back.
        _copy(demo / "postgres", directory / "backup")
        with running(demo, **settings) as (server, http):
            auditor, manager = [signed_in(http, server, role) for role in ("auditor", "manager")]
            assert _sealed_in_time(auditor, manager) > size
        shutil.rmtree(demo / "postgres")
        _copy(directory / "backup", demo / "postgres")
        with running(demo, **settings) as (server, http):
            auditor = signed_in(http, server, "auditor")
            left = newest(auditor)
            before = http.get("/audit/checkpoint/heads").text
            until(lambda: "trail_not_sealed" in server.errors or None, within_s=20, what="The refusal")
            time.sleep(2)
            assert sealed(auditor, left) is None
            assert Head.parse(Note.parse(http.get("/audit/checkpoint/heads").text).text) == Head.parse(
                Note.parse(before).text
            )
        refused = command(demo, "seal", code=6)
        assert refused["failed"]
        assert refused["lag_s"] > 0

        # The operator says that it is so.
        begun = command(demo, "restart", "--organization", "clearwater", "--reason", "The disk failed", "--yes")
        assert begun["origin"].endswith("/2")
        with running(demo, **settings) as (server, http):
            auditor, manager = [signed_in(http, server, role) for role in ("auditor", "manager")]
            _sealed_in_time(auditor, manager)
            again = VerifierKey(f"{NAME}/heads/2", log_key.type, log_key.public)
            until(lambda: cosigned(http, [again, *keys]), within_s=PUBLISHED_WITHIN_S, what="Cosigning the new log")


def _sealed_in_time(auditor: Caller, manager: Caller) -> int:
    """Write an entry, and require that it is sealed within seconds. Returns how many are."""
    longest = 0.0
    size = 0
    for _ in range(3):
        manager.run("{ records(first: 5) { nodes { comment } } }")
        begun, written = time.monotonic(), newest(auditor)
        size = until(partial(sealed, auditor, written), within_s=SEALED_WITHIN_S, what="Sealing")
        longest = max(longest, time.monotonic() - begun)
    assert longest < SEALED_WITHIN_S
    return size


def _copy(source: Path, target: Path) -> None:
    """Copy a database that is stopped. Its files belong to the user that PostgreSQL runs as."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
