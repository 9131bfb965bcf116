"""`docs/integrators.md`: its commands are run in their order on a real server, its expression on real tokens."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from auth.opaque_token import OpaqueToken, RefreshToken, ServiceToken
from tests.support.programs import needs
from tests.support.server import Server
from tests.support.world import SIGN_IN

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "integrators.md").read_text()
COMMANDS: Final = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXPRESSION: Final = re.compile(re.findall(r"^```regex\n(.*?)\n```$", PAGE, re.MULTILINE)[0])
PROGRAM: Final = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
PATIENCE_S: Final = 20.0
_ORDER: Final = ("fws_", "fwr_", "fwb_", "fwi_", "fwe_", "fwx_")


def kinds(of: type[OpaqueToken] = OpaqueToken) -> Iterator[type[OpaqueToken]]:
    """Yield every kind of token that the service gives out."""
    for one in of.__subclasses__():
        if "prefix" in vars(one):
            yield one
        yield from kinds(one)


KINDS: Final = sorted(kinds(), key=lambda kind: _ORDER.index(kind.prefix))


@needs("curl", "jq")
def test_the_commands_of_the_page_do_what_it_says(server: Server, tmp_path: Path) -> None:
    assert len(COMMANDS) == 5
    email, password = server.sign_ins["owner"]
    given = {"email": email, "password": password}
    signed_in = httpx.post(f"{server.url}/graphql", json={"query": SIGN_IN, "variables": {"input": given}}).json()
    admin = signed_in["data"]["signIn"]["accessToken"]

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(COMMANDS)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "URL": server.url, "ADMIN_TOKEN": admin},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, (done.stdout, done.stderr)
    made = json.loads((tmp_path / "made.json").read_text())["data"]["createServiceAccount"]
    issued = json.loads((tmp_path / "issued.json").read_text())["data"]["issueServiceAccountToken"]
    granted = json.loads((tmp_path / "granted.json").read_text())["access_token"]
    assert made["serviceAccount"]["networks"] == ["127.0.0.0/8", "2001:db8::/32"]

    def ask(token: str, query: str) -> dict[str, Any]:
        answer = httpx.post(
            f"{server.url}/graphql", json={"query": query}, headers={"authorization": f"Bearer {token}"}
        )
        found: dict[str, Any] = answer.json()
        return found

    # What the page says of a revoked token, and of what it was exchanged for.
    alive = "{ viewer { serviceAccount { id } permissions } }"
    for token in (made["token"], granted):
        assert {one["extensions"]["code"] for one in ask(token, alive)["errors"]} == {"UNAUTHENTICATED"}
    assert "errors" not in ask(issued["token"], "{ viewer { permissions } }")
    # And of the last use: some seconds late.
    shown = f'{{ serviceAccount(id: "{made["serviceAccount"]["id"]}") {{ tokens {{ hint lastUse {{ usedFrom }} }} }} }}'
    end = time.monotonic() + PATIENCE_S
    while not all(one["lastUse"] for one in ask(admin, shown)["data"]["serviceAccount"]["tokens"]):
        assert time.monotonic() < end
        time.sleep(0.2)
    tokens = ask(admin, shown)["data"]["serviceAccount"]["tokens"]
    assert [one["lastUse"]["usedFrom"] for one in tokens] == ["127.0.0.1"] * 2
    assert [one["hint"] for one in tokens] == [issued["token"][-4:], made["token"][-4:]]


def test_a_scanner_finds_tokens_by_the_expression_of_the_page_and_nothing_else() -> None:
    tokens = [kind.new(uuid4(), uuid4()).encode() for kind in KINDS for _ in range(100)]
    found_in = "\n".join(f'export TOKEN="{token}" # link={token}&x' for token in tokens)

    assert EXPRESSION.findall(found_in) == [token for token in tokens for _ in range(2)]
    for other in ("fws_", "fws_" + "A" * 91, "fws_" + "A" * 93, "xfws_" + "A" * 92, "fws_" + "A" * 91 + "+"):
        assert EXPRESSION.findall(f" {other} ") == []


def test_every_kind_of_token_is_named_with_what_it_opens() -> None:
    assert {ServiceToken, RefreshToken} <= set(KINDS)
    assert re.findall(r"^\| `(fw._)` \|", PAGE, re.MULTILINE) == [kind.prefix for kind in KINDS]


def test_the_checksum_of_the_page_tells_tokens_from_what_looks_like_them() -> None:
    named: dict[str, Any] = {}
    exec(PROGRAM, named)  # noqa: S102  (what is run is the page's own)
    for kind in KINDS:
        token = kind.new(uuid4(), uuid4()).encode()

        assert named["is_token"](token)
        for place in range(4, len(token)):
            assert not named["is_token"](token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :])
