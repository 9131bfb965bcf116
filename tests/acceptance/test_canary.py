"""No value that is guarded, no password and no token is found anywhere but in the answers of those who may read it.

Canaries are given to everything that takes something guarded, in every way that is done or refused, to commands and to
a real server; then the server is made to fail and crash. Every place that something may have been written to meanwhile
is searched: once over PostgreSQL as the service sets it up, once over one that tells all it can.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from auth.principal import SYSTEM_ID
from fieldward.embedded_roles import OWNER, SERVICE
from schema.api import Api
from tests.support.canary import Scan, forms
from tests.support.canary_failing import crash, fail
from tests.support.canary_house import TALKATIVE, house
from tests.support.canary_search import search
from tests.support.canary_story import Story, commands, exchange, ground, people, read_all, write
from tests.support.canary_traffic import EXPORTS
from tests.sweep.contract import Contract
from tests.sweep.writing import DONE_ELSEWHERE, SESSION, Aim, complete

UNTOLD: Final = {"fsync": "off"}
"""What is written is the same, and the test need not wait for the disk."""
LEAST_KEPT: Final = 45
"""Values that mutations stored, at the least."""
LEAST_RUN: Final = 1000
"""Requests of a run, at the least: a part that was left out would be found nowhere."""


@pytest.fixture(
    scope="module",
    params=[UNTOLD, {**UNTOLD, **TALKATIVE}],
    ids=["as the service sets it up", "as talkative as it gets"],
)
def story(request: pytest.FixtureRequest, api: Api) -> Iterator[Story]:
    """A run, from an empty directory to its end."""
    root = Path(tempfile.mkdtemp(prefix="fw"))
    try:
        with house(root, request.param) as made:
            yield asyncio.run(_tell(Story(made, "log_statement" in request.param), api))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_no_canary_is_found_where_it_must_not_be(story: Story) -> None:
    places = sum(count for count, _ in story.scanned.values())

    assert places > 3000
    assert {"while it runs", "after a clean stop"} == set(story.scanned)
    assert not story.hits, f"{len(story.hits)} found, among them:\n" + "\n".join(map(str, story.hits[:20]))


def test_what_is_plain_is_found_by_the_same_search(story: Story) -> None:
    data = story.house.data / "postgres"
    scan = Scan({"control": forms(story.control.marker)}, story.control)

    scan.tree(data)

    kinds = {Path(hit.place).relative_to(data).parts[0] for hit in scan.hits}
    assert {"base", "pg_wal"} <= kinds
    if story.is_talkative:
        # The reports hold the variables of functions.
        assert story.control.marker in story.house.reports.read_text()
    logged = story.control.marker in (story.house.data / "postgresql.log").read_text(errors="replace")
    assert logged is story.is_talkative


def test_every_value_that_was_stored_is_in_the_answers_of_who_may_read_it(story: Story) -> None:
    assert story.writing is not None

    lost = (story.writing.kept | story.readable) - story.canaries.within(story.read["owner"])

    assert len(story.writing.kept) >= LEAST_KEPT
    assert not lost, sorted(story.canaries.planted[one] for one in lost)


def test_who_may_not_read_is_answered_none_but_their_own(story: Story) -> None:
    own = story.accounts["watcher"]

    told = story.canaries.within("".join(story.house.told["watcher"]))

    assert {story.canaries.planted[one] for one in told} <= {"address of watcher", "name of watcher"}, own


def test_no_answer_to_a_change_repeats_what_was_given(story: Story) -> None:
    told = story.canaries.within("".join(story.house.told["writer"] + story.house.told["anonymous"]))

    said = sorted(story.canaries.planted[one] for one in told)
    # The text of an operation that can't be read is the client's own, and the message says where it is wrong.
    assert not [one for one in said if not re.search(r"a field|an argument|a word behind|wrong type|cut", one)], said


def test_every_mutation_was_run_and_refused(story: Story, api: Api) -> None:
    assert story.writing is not None
    counts = story.writing.counts
    mutations = set(story.writing.contract.mutation)

    assert set(complete(Aim("", "", "", ""))) == mutations - SESSION
    assert set(EXPORTS) < DONE_ELSEWHERE
    assert DONE_ELSEWHERE - set(EXPORTS) == {
        *("confirmErasure", "resetSecondFactors", "setSignInPolicy", "setTrustedDocumentPolicy", "withdrawErasure")
    }
    assert counts["done"] == 2 * len(mutations - SESSION - DONE_ELSEWHERE)
    assert sum(counts.values()) > LEAST_RUN, counts


def test_what_was_imported_is_in_the_files_that_were_exported(story: Story) -> None:
    assert story.traffic is not None

    held = story.canaries.within(story.traffic.taken.decode("latin-1"))

    sent = {one for one, where in story.canaries.planted.items() if re.match("(comment|collector) of a.* sent$", where)}
    assert len(sent) > 8
    assert sent & story.traffic.kept <= held


def test_what_processes_tell_each_other_is_ids_alone(story: Story) -> None:
    assert len(story.notified) == 2
    for payload in story.notified:
        assert re.fullmatch(r"(retired|destroyed) [0-9a-f-]{36}", payload)
    assert story.writing is not None
    organization = str(story.writing.cast.organization)
    assert organization in story.changes_told
    assert set(story.changes_told) <= {organization, str(SYSTEM_ID)}
    root = Path(__file__).parents[2]
    telling = [
        path.relative_to(root).as_posix()
        for package in ("auth", "models", "resolvers", "schema", "fieldward")
        for path in (root / package).rglob("*")
        if path.suffix in {".py", ".sql"} and re.search(r"pg_notify|; notify ", path.read_text())
    ]
    assert sorted(telling) == ["models/encryption/keystore.py", "models/transaction.py"]


async def _tell(story: Story, api: Api) -> Story:
    """Have everything happen, and everything searched."""
    made = story.house
    if story.is_talkative:
        made.control = story.control.plant("a variable of a function that failed")
        for role in (OWNER, SERVICE):
            await made.sql(f"alter role {role} set log_min_messages = 'debug2'")
    await people(story)
    url = made.serve()
    writing = story.writing = await ground(story, Contract(api._schema), url)
    await asyncio.to_thread(write, story, writing, url)
    await exchange(story, url)
    if story.is_talkative:
        await asyncio.to_thread(commands, story)
    await fail(story, writing)
    story.read = {"owner": read_all(story, "owner", url), "watcher": read_all(story, "watcher", url)}
    await crash(story, url)
    await search(story, "while it runs", is_running=True)
    made.postgres.stop()
    await search(story, "after a clean stop", is_running=False)
    return story
