"""Production mode as an operator meets it: what it does not start with, and what it is like once it serves."""

import json
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from fieldward.backup.line import Archiving, noted_line
from fieldward.cli.checking import FOUND
from fieldward.embedded import EmbeddedPostgres
from tests.support.certificate import Authority
from tests.support.handed import HAND_OVER
from tests.support.installation import installed
from tests.support.server import ROOT, environment, free_port

DEMANDED = ("strict-transport-security", "content-security-policy", "x-content-type-options", "permissions-policy")
WITHIN_S = 30


def run(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Fieldward's, with Argon2id as it is by default."""
    given = {**environment(directory, **{f"FIELDWARD_{name}": value for name, value in settings.items()})}
    if "PASSWORD_COST" not in settings:
        del given["FIELDWARD_PASSWORD_COST"]
    return subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_not_safe_is_refused_by_its_name_and_nothing_is_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    url = "postgres://fieldward_app:fieldward@db.example/fieldward"

    done = run(
        data,
        "serve",
        MODE="production",
        PASSWORD_COST="test",
        LOG_FORMAT="console",
        METRICS_TOKEN="changeme-changeme",
        DATABASE_URL=url,
        KEYSTORE_URL=f"{url}_keys?sslmode=require",
        OWNER_DATABASE_URL=url,
    )

    assert done.returncode == 2
    said = done.stderr.splitlines()
    for variable in (
        "TLS_CERTIFICATE: expected, or FIELDWARD_TRUSTED_PROXIES",
        "PUBLIC_URL: expected",
        "METRICS_TOKEN: expected",
        "DATABASE_URL: expected sslmode=verify-full",
        "DATABASE_URL: its password: expected",
        "KEYSTORE_URL: expected sslmode=verify-full",
        "OWNER_DATABASE_URL: expected to be left out",
        "PASSWORD_COST: expected standard",
        "LOG_FORMAT: expected json",
    ):
        assert any(line.startswith(f"fieldward: FIELDWARD_{variable}") for line in said), (variable, said)
    assert "changeme-changeme" not in done.stderr
    assert ":fieldward@" not in done.stderr
    assert not data.exists()


@pytest.mark.parametrize(
    ("command", "settings", "said"),
    [
        ("serve", {"HOST": "0.0.0.0"}, "FIELDWARD_MODE: expected production, to listen on 0.0.0.0"),  # noqa: S104
        ("serve", {"HOST": "::"}, "FIELDWARD_MODE: expected production, to listen on ::"),
        ("serve", {"HOST": "192.0.2.1"}, "FIELDWARD_MODE: expected production"),
        ("serve", {"TRUSTED_PROXIES": "127.0.0.1"}, "FIELDWARD_MODE: expected production"),
        ("demo", {"HOST": "0.0.0.0"}, "FIELDWARD_MODE: expected production"),  # noqa: S104
        ("demo", {"MODE": "production"}, "FIELDWARD_MODE: expected development, for a demo"),
        ("serve", {"TLS_KEY": "/nowhere"}, "FIELDWARD_TLS_CERTIFICATE: expected, beside FIELDWARD_TLS_KEY"),
        ("serve", {"TLS_KEY": "/nowhere", "TLS_CERTIFICATE": "/nowhere"}, "FIELDWARD_TLS_CERTIFICATE: /nowhere"),
        ("serve", {"MODE": "prod"}, "FIELDWARD_MODE: "),
    ],
)
def test_nothing_unsafe_is_reachable_by_accident(
    tmp_path: Path, command: str, settings: dict[str, str], said: str
) -> None:
    done = run(tmp_path / "data", command, **settings)

    assert done.returncode == 2
    assert done.stderr.startswith(f"fieldward: {said}"), done.stderr
    assert not (tmp_path / "data" / "postgres").exists() or "TLS" in said


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")],  # noqa: S104  (nobody is let in by it)
)
def test_a_socket_that_is_handed_over_is_no_way_around_the_mode(
    tmp_path: Path, family: socket.AddressFamily, host: str
) -> None:
    with socket.socket(family) as held:
        held.bind((host, 0))
        done = subprocess.run(
            [sys.executable, "-c", HAND_OVER, str(held.fileno())],
            cwd=ROOT,
            env=environment(tmp_path / "data"),
            pass_fds=[held.fileno()],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert done.returncode == 2
    assert done.stderr.startswith(f"fieldward: FIELDWARD_MODE: expected production, to listen on {host}"), done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_superuser_is_not_served_as(tmp_path: Path) -> None:
    with installed() as installation:
        to = installation.postgres.superuser("fieldward")
        keys = installation.urls()["FIELDWARD_KEYSTORE_URL"]
        proxied = {"MODE": "production", "TRUSTED_PROXIES": "127.0.0.1", "PUBLIC_URL": "https://fieldward.example"}

        done = run(
            installation.keys,
            "serve",
            **proxied,
            DATABASE_URL=f"postgres://postgres:{to.password}@/fieldward?host={to.host}",
            KEYSTORE_URL=keys,
            PORT=str(free_port()),
        )

    assert done.returncode == 2
    assert "postgres in fieldward" in done.stderr
    assert "nosuperuser" in done.stderr
    assert to.password not in done.stderr


@dataclass
class Production:
    """A server in production mode, with the embedded database and a certificate of its own."""

    process: subprocess.Popen[str]
    port: int
    data: Path
    tls: Path
    authority: Authority
    trusted: Path
    log: Path
    settings: dict[str, str]
    token: str

    @property
    def url(self) -> str:
        """Where people reach it."""
        return f"https://localhost:{self.port}"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """One for this module."""
    with_path = tmp_path_factory.mktemp("production")
    authority, port, token = Authority.made(), free_port(), secrets.token_urlsafe(32)
    authority.issue(with_path / "tls", ["localhost"])
    data, log = with_path / "data", with_path / "log"
    # Below pytest's own directories the database's user is shut out where root runs the tests.
    for one in (with_path, *with_path.parents):
        if one == Path("/tmp"):  # noqa: S108
            break
        one.chmod(0o755)
    settings = {
        "FIELDWARD_MODE": "production",
        "FIELDWARD_PORT": str(port),
        "FIELDWARD_PUBLIC_URL": f"https://localhost:{port}",
        "FIELDWARD_TLS_CERTIFICATE": str(with_path / "tls" / "certificate.pem"),
        "FIELDWARD_TLS_KEY": str(with_path / "tls" / "key.pem"),
        "FIELDWARD_METRICS_TOKEN": token,
        "FIELDWARD_AUDIT_NAME": "audit.fieldward.example",
    }
    given = {**environment(data), **settings}
    del given["FIELDWARD_PASSWORD_COST"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fieldward", "serve"],
            cwd=ROOT,
            env=given,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    trusted = authority.write(with_path / "authority.pem")
    made = Production(process, port, data, with_path / "tls", authority, trusted, log, settings, token)
    try:
        end = time.monotonic() + 240
        while "Serving on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield made
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30)


def client(production: Production) -> httpx.Client:
    """Return a client that trusts the authority alone."""
    return httpx.Client(base_url=production.url, verify=ssl.create_default_context(cafile=production.trusted))


def test_everything_is_served_by_tls_and_says_so(production: Production) -> None:
    with client(production) as http:
        answers = [
            http.get("/graphiql"),
            http.get("/account"),
            http.post("/graphql", json={"query": "{ viewer { role } }"}),
            http.get("/nothing"),
            http.get("/health/ready"),
            http.get("/metrics", headers={"authorization": f"Bearer {production.token}"}),
        ]

    assert [one.status_code for one in answers] == [200, 200, 200, 404, 200, 200]
    for answer in answers:
        assert all(name in answer.headers for name in DEMANDED), answer.url
        assert int(answer.headers["strict-transport-security"].split("=")[1].split(";")[0]) >= 31_536_000


def test_nothing_is_said_in_the_clear_and_nothing_by_old_tls(production: Production) -> None:
    with socket.create_connection(("127.0.0.1", production.port), timeout=10) as plain:
        plain.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        found = b""
        with suppress(ConnectionError):
            found = plain.recv(1000)
    assert not found.startswith(b"HTTP/1.1 2")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", production.port), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(raw)


def test_what_is_no_request_is_answered_with_the_headers_too(production: Production) -> None:
    context = ssl.create_default_context(cafile=production.trusted)
    with (
        socket.create_connection(("127.0.0.1", production.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as spoken,
    ):
        spoken.sendall(b"this is no request\r\n\r\n")
        head = spoken.recv(4000).decode().lower()

    assert head.startswith("http/1.1 400")
    assert all(f"{name}: " in head for name in DEMANDED)


def test_a_renewed_certificate_is_served_without_a_restart(production: Production) -> None:
    before = _serial(production)
    production.authority.issue(production.tls, ["localhost"])

    end = time.monotonic() + WITHIN_S
    while (now := _serial(production)) == before:
        assert time.monotonic() < end
        time.sleep(0.5)

    assert now != before
    with client(production) as http:
        assert http.get("/health/live").status_code == 200


def test_the_check_beside_it_finds_what_is_left_to_do(production: Production) -> None:
    settings = {name.removeprefix("FIELDWARD_"): value for name, value in production.settings.items()}
    bounds = ("RATE_LIMIT_REQUESTS", "RATE_LIMIT_COST", "CONCURRENCY")
    bounded = {f"{who}{what}": "100" for who in ("", "ANONYMOUS_") for what in bounds}

    done = run(production.data, "check", "--deploy", "--json", **settings, **bounded)
    shown = run(production.data, "check", "--deploy", **settings, **bounded)

    found = json.loads(done.stdout)["findings"]
    ours = {"no-alarm", "no-mail", "heads-stay-here", "key-beside-data", "no-backup"}
    machines = {"runs-as-root", "swap"}
    assert {one["name"] for one in found} - machines == ours
    assert done.returncode == shown.returncode == FOUND
    for one in found:
        assert one["title"] in " ".join(shown.stdout.split())
        assert one["asvs"] or one["cis"]
    ordered = [one["severity"] for one in found]
    assert ordered == sorted(ordered, key=["REFUSED", "HIGH", "MEDIUM", "LOW"].index)


def test_the_check_of_a_new_directory_says_what_production_would_refuse(tmp_path: Path) -> None:
    done = run(tmp_path / "data", "check", "--deploy", "--json")

    names = {one["name"] for one in json.loads(done.stdout)["findings"]}
    assert {"development-mode", "plain-http", "public-url", "database-away"} <= names
    assert done.returncode == FOUND
    assert not (tmp_path / "data").exists()
    assert run(tmp_path / "data", "check").returncode == 2


def test_the_check_leaves_the_archive_of_a_database_that_does_not_run_as_it_is(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    with EmbeddedPostgres(tmp_path / "data", archiving=Archiving(backups, 60)):
        pass
    line = noted_line(tmp_path / "data", backups)
    assert line is not None
    archived = sorted(backups.rglob("*"))

    without = run(tmp_path / "data", "check", "--deploy", "--json")
    elsewhere = run(tmp_path / "data", "check", "--deploy", "--json", BACKUP_DIRECTORY=str(tmp_path))

    found = [{one["name"] for one in json.loads(done.stdout)["findings"]} for done in (without, elsewhere)]
    assert ["no-backup" in one for one in found] == [True, False]
    # Both looked into the database, which nobody has migrated.
    assert all("walls-down" in one for one in found)
    assert noted_line(tmp_path / "data", backups) == line
    assert sorted(backups.rglob("*")) == archived
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backups", "data"]


def _serial(production: Production) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", production.port), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number
