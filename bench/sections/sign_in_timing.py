"""Whether the time of an answer tells an account that there is from one that there is not.

A real server process with Argon2id as it is by default is asked, one question at a time, about accounts that there are
and addresses of the same form that nobody has, in pairs of which either comes first by lot. Each answer is timed by who
asks. The two samples are held against each other by the Mann-Whitney test, which asks nothing of how times are spread.

What slows down who guesses is on, as it always is: the tries are of many accounts, and come from many addresses of this
machine, so that none of them is one too many; an answer that was slowed down ends the run.
"""

import asyncio
import http.client
import json
import math
import random
import secrets
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from auth.role import OrganizationRole
from bench.dataset import Dataset
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import ORGANIZATION, databases_of
from bench.server import Databases
from bench.targets.base import POOL_SIZE, RefusedError, Setting
from bench.targets.fieldward import FieldwardTarget
from fieldward.cli.environment import operator, services
from fieldward.settings import Settings
from resolvers.account import NewPerson, create_person
from schema.api import build_api

LEAST_P: Final = 0.01
"""Below that the samples are said to differ: one run in a hundred says so of samples that do not."""
ACCOUNTS: Final = 50
ADDRESSES: Final = 100
_WRONG: Final = "wrong, and long enough to be one"
WARM: Final = 10
"""Pairs before the first that counts."""


class Question(StrEnum):
    """What is asked."""

    SIGN_IN = "sign-in"
    RESET = "reset"


_ASKED: Final = {
    Question.SIGN_IN: (
        "signIn",
        "mutation S($input: SignInInput!) { signIn(input: $input) { errors { code message } } }",
    ),
    Question.RESET: (
        "requestPasswordReset",
        "mutation R($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) {"
        " errors { code message } } }",
    ),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two samples: p, and in how many of a hundred pairs the first is the larger; 50 is no difference."""

    p: float
    larger_percent: float


def measure_sign_in_timing(plan: Plan, databases: Databases, question: Question, tries: int) -> Report:
    """Time answers about accounts that there are and that there are not, `tries` of each, and compare them.

    Raises:
        RefusedError: an answer was another than it must be: it was slowed down, or told one from the other; or there is
            no such question in this version.
    """
    mutation = build_api()._schema.mutation_type
    if mutation is None or _ASKED[question][0] not in mutation.fields:
        raise RefusedError(f"There is no {_ASKED[question][0]} to ask.")
    target = FieldwardTarget(Setting(Dataset(plan.records), databases, plan.directory))
    target.prepare()
    say(f"{ACCOUNTS} accounts")
    known = asyncio.run(_make_accounts(plan, target, databases))
    unknown = [f"nobody{address.removeprefix('person')}" for address in known]
    with ExitStack() as stack:
        target.launch(stack)
        say(f"{question}: {tries} of each kind")
        times = _ask_all(target.url, question, known, unknown, tries)
    compared = compare(*times)
    verdict = "no difference is seen" if compared.p >= LEAST_P else "THEY DIFFER"
    rows = [
        [name, f"{statistics.median(sample):.2f}", f"{statistics.mean(sample):.2f}", f"{_quartiles(sample)}"]
        for name, sample in zip(("an account that there is", "one that there is not"), times, strict=True)
    ]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"{question}: {tries} answers of each kind, one at a time and in turns, from {ADDRESSES} addresses; Argon2id by"
        " default. Milliseconds.",
        "",
        *table(["asked about", "median", "mean", "half lie within"], rows),
        "",
        f"Mann-Whitney: p = {compared.p:.3f}; in {compared.larger_percent:.1f} of 100 pairs the account that there is"
        f" takes longer. At p < {LEAST_P} they would be told apart: {verdict}.",
    ]
    data = {
        "p": compared.p,
        "larger_percent": compared.larger_percent,
        "median_ms": [statistics.median(sample) for sample in times],
        "differ": compared.p < LEAST_P,
    }
    return Report(f"{question}-timing", lines, {f"{question}-timing": data})


def compare(ones: Sequence[float], others: Sequence[float]) -> Comparison:
    """Return how two samples, of 20 and more each, compare: by the test of Mann and Whitney in its normal form."""
    ordered = sorted([(value, 0) for value in ones] + [(value, 1) for value in others])
    ranks, start = 0.0, 0
    ties = 0
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end][0] == ordered[start][0]:
            end += 1
        # Those that are equal share the mean of their ranks.
        ranks += (start + end + 1) / 2 * sum(kind == 0 for _, kind in ordered[start:end])
        ties += (end - start) ** 3 - (end - start)
        start = end
    n, m = len(ones), len(others)
    larger = ranks - n * (n + 1) / 2
    spread = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    distance = max(0.0, abs(larger - n * m / 2) - 0.5) / spread if spread else 0.0
    return Comparison(p=math.erfc(distance / math.sqrt(2)), larger_percent=100 * larger / (n * m))


async def _make_accounts(plan: Plan, target: FieldwardTarget, server: Databases) -> list[str]:
    """Make people, and return their addresses."""
    settings = Settings(data_directory=plan.directory / "fieldward", pool_size=POOL_SIZE)
    async with services(settings, databases_of(server, target.database, owner=False)) as built:
        async with server.superuser(target.database) as superuser:
            organization_id = await superuser.fetchval("select id from organization where slug = $1", ORGANIZATION)
        addresses = [f"person-{number:03}-{secrets.token_hex(4)}@basin.example" for number in range(ACCOUNTS)]
        for address in addresses:
            new = NewPerson(address, secrets.token_urlsafe(24), "Pia Person", OrganizationRole.MEMBER)
            await create_person(built, operator(), organization_id=organization_id, new=new)
    return addresses


def _ask_all(
    url: str, question: Question, known: Sequence[str], unknown: Sequence[str], tries: int
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each answer, of accounts that there are and of others."""
    times: tuple[list[float], list[float]] = ([], [])
    answers: set[str] = set()
    lots = random.SystemRandom()
    for number in range(WARM + tries):
        account, address = number % len(known), f"127.0.1.{1 + number % ADDRESSES}"
        pair = [(0, known[account]), (1, unknown[account])]
        lots.shuffle(pair)
        for kind, email in pair:
            took, answer = _ask(url, question, email, address)
            answers.add(json.dumps(answer, sort_keys=True))
            if number >= WARM:
                times[kind].append(took)
    if len(answers) != 1 or "RATE_LIMITED" in answers.copy().pop():
        raise RefusedError(f"Expected one answer to all, and got {len(answers)}: {' '.join(sorted(answers))[:800]}")
    return times


def _ask(url: str, question: Question, email: str, address: str) -> tuple[float, Any]:
    """Ask about an address from another, on a connection of its own, and return the milliseconds and the answer."""
    given = {"email": email} if question is Question.RESET else {"email": email, "password": _WRONG}
    body = json.dumps({"query": _ASKED[question][1], "variables": {"input": given}})
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60, source_address=(address, 0))
    with closing(connection):
        connection.connect()
        begun = time.perf_counter()
        connection.request("POST", parts.path, body, {"content-type": "application/json"})
        text = connection.getresponse().read()
        took = (time.perf_counter() - begun) * 1000
    return took, json.loads(text)


def _quartiles(sample: Sequence[float]) -> str:
    low, _, high = statistics.quantiles(sample, n=4)
    return f"{low:.2f} to {high:.2f}"
