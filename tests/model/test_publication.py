"""Heads are laid down outside, and witnesses asked; whatever fails there holds up no sealing and is tried again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import boto3
import pytest

from fieldward.container import build_place
from fieldward.settings import Settings
from models.errors import UnavailableError
from models.ledger.checkpoint import Head, HeadSigner, Note, SignatureType
from models.outside.http import post, require_address
from models.outside.place import FilePlace, Place, WebhookPlace, require_origin
from models.outside.s3_place import S3Place
from models.sealed_batch import HEADS_ID
from resolvers.publication import HeadPublishing, publication_lag, reader_of
from resolvers.sealing import Sealer
from resolvers.trail_sealing import seal_everything
from resolvers.witnessing import Witness, WitnessError, ask_witness
from tests.support.key_servers import REGION, answering_server, hanging_server, kms_server
from tests.support.sealing import a_sealer, add_entry, always, writer
from tests.support.world import World

BUCKET = "heads-of-the-trail"


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    """A sealer of this test's own."""
    return a_sealer(tmp_path)


@pytest.fixture(scope="module")
def bucket_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where S3 answers."""
    with kms_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def bucket(bucket_url: str, aws_credentials: None) -> Place:
    """A bucket."""
    admin = boto3.session.Session().client("s3", region_name=REGION, endpoint_url=bucket_url)
    admin.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Place(f"s3://{BUCKET}/deep/prefix", region=REGION, endpoint_url=bucket_url)


@pytest.fixture
def directory(tmp_path: Path) -> Place:
    """A directory."""
    (tmp_path / "outside").mkdir()
    return FilePlace(tmp_path / "outside")


async def checkpoints(world: World) -> dict[str, str]:
    """The newest checkpoint of each log, by its origin."""
    rows = await world.sql(
        "select distinct on (organization_id) checkpoint from sealed_batch order by organization_id, tree_size desc"
    )
    return {row[0].partition("\n")[0]: row[0] for row in rows}


@pytest.mark.parametrize("place", ["directory", "bucket"])
async def test_the_newest_head_of_each_log_is_laid_down_and_read_again(
    world: World, sealer: Sealer, request: pytest.FixtureRequest, place: str
) -> None:
    where: Place = request.getfixturevalue(place)
    read = reader_of(where, sealer)
    assert read is not None
    publishing = HeadPublishing(always, where)
    organization_id = await world.organization_id("clearwater")
    assert await publication_lag() == 0
    for _ in range(2):
        async with writer(world, organization_id) as connection:
            await add_entry(connection, organization_id)
        await seal_everything(sealer)
        assert await publication_lag() > 0

        await publishing.step()

        assert await publication_lag() == 0
        newest = await checkpoints(world)
        assert len(newest) > 2
        for origin, text in newest.items():
            assert await where.read(origin) == text
            assert await read(origin) == Head.parse(Note.parse(text).text)
    rows = await world.value("select count(*) from publication")
    await publishing.step()
    assert await world.value("select count(*) from publication") == rows == 2
    assert await where.read(f"{sealer.name}/organization/{UUID(int=9)}") is None


async def test_a_webhook_gets_each_head_as_it_was_signed_and_is_asked_again_when_it_refused(
    world: World, sealer: Sealer
) -> None:
    await seal_everything(sealer)
    with recording(500) as (url, received):
        await HeadPublishing(always, WebhookPlace(url)).step()
        assert len(received) == 1
        assert await publication_lag() > 0
    with recording(204) as (url, received):
        await HeadPublishing(always, WebhookPlace(url)).step()
        assert await publication_lag() == 0
        assert sorted(received) == sorted((await checkpoints(world)).values())
    assert reader_of(WebhookPlace(url), sealer) is None


async def test_a_head_that_is_not_ours_is_not_taken_for_one(world: World, sealer: Sealer, tmp_path: Path) -> None:
    place = FilePlace(tmp_path)
    read = reader_of(place, sealer)
    assert read is not None
    origin = sealer.origin(HEADS_ID)
    other = HeadSigner.generate().sign(Head(origin, 10**9, bytes(32)))
    await place.put({origin: str(other)})

    with pytest.raises(UnavailableError):
        await read(origin)
    await seal_everything(sealer)
    # What this machine has written down by itself is enough to go on.
    again = a_sealer(tmp_path, read, signer=sealer.signer)
    organization_id = await world.organization_id("clearwater")
    async with writer(world, organization_id) as connection:
        await add_entry(connection, organization_id)
    assert (await seal_everything(again)).failed == []


async def test_a_place_that_is_away_says_so(tmp_path: Path, aws_credentials: None) -> None:
    away: list[Place] = [
        FilePlace(tmp_path / "not there"),
        S3Place(f"s3://{BUCKET}", region=REGION, endpoint_url="http://127.0.0.1:9"),
    ]
    for place in away:
        with pytest.raises(UnavailableError):
            await place.read("a/b")
    (tmp_path / "file").write_text("")
    unwritable: list[Place] = [FilePlace(tmp_path / "file"), away[1], WebhookPlace("http://127.0.0.1:9")]
    for broken in unwritable:
        with pytest.raises(UnavailableError):
            await broken.put({"a/b": "x"})


def test_an_origin_that_leads_elsewhere_names_no_file() -> None:
    for origin in ("../a", "a/../b", "/a", "a//b", "a/./b", "", "a b", "a\n"):
        with pytest.raises(ValueError, match="origin"):
            require_origin(origin)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///var/lib/heads", FilePlace),
        ("https://heads.example/in", WebhookPlace),
        ("http://127.0.0.1:8/in", WebhookPlace),
        ("s3://heads/prefix", S3Place),
    ],
)
def test_the_settings_name_a_place(url: str, kind: type[Place], aws_credentials: None) -> None:
    settings = Settings(audit_publish_url=url, audit_bucket_region=REGION)

    assert isinstance(build_place(settings), kind)
    assert build_place(Settings()) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"audit_publish_url": "file://host/path"},
        {"audit_publish_url": "file:relative"},
        {"audit_publish_url": "s3:///prefix"},
        {"audit_publish_url": "http://heads.example/in"},
        {"audit_publish_url": "https://me:secret-word@heads.example/in"},
        {"audit_publish_url": "ftp://heads.example"},
        {"audit_witnesses": "nobody https://witness.example"},
        {"audit_witnesses": "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW https://w.example"},
        {"audit_name": "a name"},
        {"audit_name": "a+b"},
        {"audit_publish_interval_s": 61},
    ],
)
def test_a_setting_that_does_not_fit_is_refused_before_anything_starts(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))) as refused:
        Settings(**settings)  # type: ignore[arg-type]
    assert "secret-word" not in str(refused.value.errors(include_input=False, include_url=False))  # type: ignore[attr-defined]


async def test_what_a_witness_says_is_believed_only_if_it_signed_it(world: World, sealer: Sealer) -> None:
    await seal_everything(sealer)
    text = (await checkpoints(world))[sealer.origin(HEADS_ID)]
    key = HeadSigner.generate().verifier_key("w", SignatureType.COSIGNATURE)
    forged = HeadSigner.generate().cosign("w", Note.parse(text).text, time=1_700_000_000).line
    size = {"content-type": "text/x.tlog.size"}
    for status, body, headers in (
        (200, forged.encode(), {}),
        (200, b"", {}),
        (200, b"\xff", {}),
        (403, b"", {}),
        (404, b"", {}),
        (409, b"99999999\n", size),
        (409, b"0\n", size),
        (409, b"many\n", size),
        (409, b"5\n", {}),
        (422, b"", {}),
        (301, b"", {"location": "http://127.0.0.1:9/"}),
    ):
        with answering_server(status, body, headers) as url, pytest.raises(WitnessError):
            await ask_witness(Witness(key, url), HEADS_ID, text)
    with answering_server(503, b"") as url, pytest.raises(UnavailableError):
        await ask_witness(Witness(key, url), HEADS_ID, text)
    with answering_server(403, b"") as url:
        await HeadPublishing(always, None, [Witness(key, url)]).step()
    await HeadPublishing(always, None, [Witness(key, "http://127.0.0.1:9")]).step()
    assert await world.value("select count(*) from cosignature") == 0


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.outside.http.TIMEOUT_S", 0.4)
    with hanging_server() as url, pytest.raises(UnavailableError):
        await post(url, b"")


def test_an_address_is_https_or_of_this_machine() -> None:
    assert require_address("https://w.example/") == "https://w.example"
    for url in ("http://w.example", "https://", "https://a:b@w.example", "file:///x", "https://w.example/#x"):
        with pytest.raises(ValueError, match="Expected"):
            require_address(url)


@contextmanager
def recording(status: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a server that answers this, and what was posted to it."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()
