"""`docs/api.md`: its commands are run in their order on a real server, its limits are the ones that count."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import httpx

from fieldward.web.limits import ANONYMOUS_LIMIT, BODY_TIMEOUT_S, SIGNED_IN_LIMIT
from models.trusted_document import LONGEST_DOCUMENT
from schema import limits
from schema.document import LARGEST_SHELF
from schema.input_value import MOST_ITEMS, MOST_VALUES
from schema.operation import LARGEST_KEPT, MOST_SMALL_WAITING, MOST_TOKENS_OF_SMALL, MOST_WAITING
from schema.text import DEEPEST_NESTING
from tests.support.programs import needs
from tests.support.server import Server
from tests.support.world import SIGN_IN

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
COMMANDS: Final = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@needs("curl", "jq", "sha256sum")
def test_the_commands_of_the_page_do_what_it_says(server: Server, tmp_path: Path) -> None:
    assert len(COMMANDS) == 6
    email, password = server.sign_ins["owner"]
    given = {"email": email, "password": password}
    signed_in = httpx.post(f"{server.url}/graphql", json={"query": SIGN_IN, "variables": {"input": given}}).json()

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(COMMANDS)],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "URL": server.url,
            "TOKEN": signed_in["data"]["signIn"]["accessToken"],
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, (done.stdout, done.stderr)


def test_the_limits_of_the_page_are_the_ones_that_count() -> None:
    table = dict(re.findall(r"^\| ([\d,]+) \| (.+) \|$", PAGE.partition("## Limits")[2], re.MULTILINE))

    said = {int(most.replace(",", "")) for most in table}
    assert said == {
        *(
            limits.MOST_TOKENS,
            limits.MOST_TOKENS_OF_ANYONE,
            DEEPEST_NESTING,
            limits.MOST_DEFINITIONS,
            limits.DEEPEST,
            limits.MOST_FIELDS,
        ),
        *(limits.MOST_ALIASES, limits.MOST_DIRECTIVES, MOST_ITEMS, limits.MOST_MUTATIONS, limits.MOST_ROWS),
        limits.MOST_VALUES,
    }
    assert (limits.MOST_ALIASES, limits.MOST_IN_LIST) == (limits.MOST_ROOTS, MOST_ITEMS)
    for written, number in (
        (f"{MOST_VALUES:,} values of one variable", 50_000),
        (f"({limits.MOST_STEPS:,})", 20_000),
        (f"more than {MOST_TOKENS_OF_SMALL} tokens or {LARGEST_KEPT // 1024} KiB", 400),
        (f"{MOST_WAITING} wait at the most; of small ones {MOST_SMALL_WAITING} do", 16),
        (f"{ANONYMOUS_LIMIT // 1024} KiB ({SIGNED_IN_LIMIT // 1024**2} MiB", 64),
        (f"large one counts {limits.WORTH_OF_TOKEN} against", 10),
        (f"longer than {BODY_TIMEOUT_S} s", 30),
        (f"more than {LONGEST_DOCUMENT:,} characters", 65_536),
        (f"list without pages counts {limits.TYPICAL_LIST}", 20),
        (f"groups {limits.WORTH_OF_GROUPS:,} for", 5_000),
        (f"the past {limits.WORTH_OF_PAST:,}, a mutation {limits.WORTH_OF_MUTATION}", 2_000),
        (f"takes a password {limits.WORTH_OF_HASHING:,}", 5_000),
        (f"`totalCount` {limits.WORTH_OF_COUNT}, so", 500),
        (f"`search` {limits.WORTH_OF_SEARCH:,}, since", 5_000),
        (f"`retentionPreview` {limits.WORTH_OF_PREVIEW:,}. In a page", 5_000),
        (f"A look at `changes` counts {limits.WORTH_OF_FEED} beside its page", 500),
        (f"once, and {limits.TYPICAL_LIST} for each more row", 20),
        (f"the schema counts {limits.WORTH_OF_SHOWN} for each field", 1),
        (f"for each {limits.SHOWN_FOR_COUNTED} fields that are counted of what is refused", 8),
    ):
        assert written in PAGE.replace("\n", " "), (written, number)
    assert LARGEST_SHELF == 1024 * 1024
