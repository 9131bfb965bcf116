"""`migrate` where somebody holds a table that a migration changes: it gives up in time, has changed nothing, and says
which it was; and it does it once the table is free.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from structlog.testing import capture_logs

from fieldward.database import MODELS_APP, Databases, migrate
from models.errors import UnavailableError
from tests.conftest import Template
from tests.support.migration import watching
from tests.support.served import url_of
from tests.support.server import ROOT
from tests.support.world import connect

PACKAGE: Final = "migrations_and_one"
"""Our migrations, and one more."""
NEWEST: Final = "9999_more"
MORE: Final = """
from tortoise import migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    dependencies = [("models", {before!r})]
    operations = [
        ops.RunSQL("alter table site add column more int", reverse_sql=""),
        ops.RunSQL("alter table record add column more int", reverse_sql=""),
    ]
"""
COMMAND: Final = """
import sys
from fieldward.cli.app import run
from fieldward.database import MODELS_APP
sys.path.append(sys.argv.pop(1))
MODELS_APP["migrations"] = sys.argv.pop(1)
run()
"""
WAITS_S, ATTEMPTS = 0.2, 3
LONGEST_S = 120.0
"""Seconds within which it is over, on a machine that is busy: each attempt reads all migrations before it waits."""
BUDGET_S = 1.0
"""Seconds that whoever reads meanwhile is held up at the most: one wait, and what the machine adds."""
READ = "select count(*) from (select id from record limit 50) r"
WRITE = "begin; lock table record in row exclusive mode; commit"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a package lies with a migration that no database of a test has."""
    made = tmp_path / PACKAGE
    shutil.copytree(ROOT / "models" / "migrations", made, ignore=shutil.ignore_patterns("__pycache__"))
    before = max(one.stem for one in made.glob("0*.py"))
    (made / f"{NEWEST}.py").write_text(MORE.format(before=before))
    return tmp_path


@pytest.fixture
async def holding(databases: str, template: Template) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who has read a table, and has not ended."""
    connection = await connect(template.postgres.superuser(databases))
    await connection.execute("begin; select count(*) from record")
    yield connection
    await connection.close()


async def changed(databases: str, template: Template) -> tuple[set[str], bool]:
    """Return which tables have the column, and whether the migration is noted as applied."""
    connection = await connect(template.postgres.superuser(databases))
    try:
        rows = await connection.fetch(
            "select attrelid::regclass::text as name from pg_attribute where attname = 'more' and not attisdropped"
        )
        is_noted = await connection.fetchval("select exists (select from tortoise_migrations where name = $1)", NEWEST)
        return {row["name"] for row in rows}, is_noted
    finally:
        await connection.close()


async def test_migrating_gives_up_within_its_budget_and_leaves_all_as_it_was(
    databases: str,
    template: Template,
    directory: Path,
    holding: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = Databases(
        main=template.postgres.owner(databases).dsn_parameters(),
        keystore=template.postgres.owner("fieldward_keys").dsn_parameters(),
    )
    settings = template.settings.model_copy(
        update={"migration_lock_timeout_s": WAITS_S, "migration_attempts": ATTEMPTS}
    )
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setitem(MODELS_APP, "migrations", PACKAGE)
    began = time.monotonic()

    with capture_logs() as logged, pytest.raises(UnavailableError, match=f"{NEWEST} .* {ATTEMPTS} attempts"):
        async with asyncio.timeout(LONGEST_S):
            await migrate(owner, settings)
    took_s = time.monotonic() - began
    held = await changed(databases, template)
    await holding.execute("commit")
    await migrate(owner, settings)

    assert took_s > WAITS_S * ATTEMPTS
    assert [(one["event"], one["migration"]) for one in logged] == [("migration_waits", NEWEST)] * (ATTEMPTS - 1)
    # What it had done before it came to that table is taken back as well.
    assert held == (set(), False)
    assert await changed(databases, template) == ({"site", "record"}, True)


async def test_the_command_gives_up_in_one_line_and_does_it_the_next_time(
    databases: str, template: Template, directory: Path, holding: asyncpg.Connection
) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDWARD_")}
    postgres = template.postgres

    def command() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", COMMAND, str(directory), PACKAGE, "migrate", "--json"],
            cwd=ROOT,
            env={
                **own,
                "FIELDWARD_DATA_DIRECTORY": str(directory / "data"),
                "FIELDWARD_DATABASE_URL": url_of(postgres.service(databases)),
                "FIELDWARD_KEYSTORE_URL": url_of(postgres.service("fieldward_keys")),
                "FIELDWARD_OWNER_DATABASE_URL": url_of(postgres.owner(databases)),
                "FIELDWARD_OWNER_KEYSTORE_URL": url_of(postgres.owner("fieldward_keys")),
                "FIELDWARD_MIGRATION_LOCK_TIMEOUT_S": str(WAITS_S),
                "FIELDWARD_MIGRATION_ATTEMPTS": str(ATTEMPTS),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    # In a process of its own, so that what others wait for is the lock alone.
    async with watching(postgres.superuser(databases), read=READ, write=WRITE) as watched:
        held = await asyncio.to_thread(command)
    was = await changed(databases, template)
    await holding.execute("commit")
    free = await asyncio.to_thread(command)

    assert held.returncode == 1
    assert f"fieldward: The migration {NEWEST} did not get its locks in {ATTEMPTS} attempts" in held.stderr
    assert was == (set(), False)
    assert max(watched.reader_s, watched.writer_s) < BUDGET_S
    assert min(watched.reads, watched.writes) > ATTEMPTS
    assert free.returncode == 0, free.stderr
    assert json.loads(free.stdout) == {"applied": [f"models.{NEWEST}"]}
    assert await changed(databases, template) == ({"site", "record"}, True)
