"""Servers that key providers speak to: real ones as processes, and ones that hang or answer the same to everything.

Of the real ones also what their operators do.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import boto3
import httpx

from tests.support.server import ROOT, free_port
from tests.support.transit_server import MOUNT, ROOT_TOKEN

REGION: Final = "eu-central-1"


def kms_admin(url: str) -> Any:
    """Return who manages keys in KMS."""
    return boto3.session.Session().client("kms", region_name=REGION, endpoint_url=url)


def new_kms_key(url: str, **more: str) -> str:
    """Make a key in KMS, and return its ARN."""
    arn: str = kms_admin(url).create_key(**more)["KeyMetadata"]["Arn"]
    return arn


def manage_vault(url: str, path: str, body: Mapping[str, Any], *, namespace: str = "") -> None:
    """Do something to the transit engine as root."""
    headers = {"X-Vault-Token": ROOT_TOKEN, "X-Vault-Namespace": namespace}
    with httpx.Client(trust_env=False) as client:
        assert client.post(f"{url}/v1/{MOUNT}/{path}", headers=headers, json=body).status_code == 200


def new_vault_key(url: str) -> str:
    """Make a key in Vault that the service's token may use, and return its name."""
    name = f"fieldward-{uuid4()}"
    manage_vault(url, f"keys/{name}", {})
    return name


@contextmanager
def kms_server(log: Path) -> Iterator[str]:
    """Run moto's AWS as a process, and yield its URL."""
    port = free_port()
    with _running(["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, "/moto-api/", log) as url:
        yield url


@contextmanager
def transit_server(log: Path) -> Iterator[str]:
    """Run `tests.support.transit_server` as a process, and yield its URL."""
    port = free_port()
    with _running(["-m", "tests.support.transit_server", str(port)], port, "/v1/sys/health", log) as url:
        yield url


@contextmanager
def hanging_server() -> Iterator[str]:
    """Yield the URL of a server that is connected to and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def answering_server(status: int, content: bytes, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the URL of a server that answers this to everything."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _running(arguments: list[str], port: int, ready: str, log: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_ready(process, url + ready, log)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    with httpx.Client(trust_env=False, timeout=5) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")
