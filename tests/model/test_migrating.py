"""Our executor of migrations says to the database what the library's would, and makes few models for it."""

from typing import Any, Final

import pytest
from tortoise import Tortoise, migrations
from tortoise.connection import get_connection
from tortoise.migrations import operations as ops
from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.schema_generator.state import ModelState

from fieldward.cli.environment import embedded_databases
from fieldward.database import Databases, migrate, pools
from fieldward.migrating import Migrating
from tests.conftest import Template
from tests.support.world import connect

APPS: Final = ("models", "keystore")
ENDED: Final = ("ended_main", "ended_keys")
"""Databases that are migrated by one process for each migration."""


@pytest.fixture
async def executors(template: Template) -> Any:
    """The library's executor and ours, for each application; nothing is executed by them."""
    config = pools(embedded_databases(template.postgres, owner=True), template.settings)
    await Tortoise.init(config=config, _enable_global_fallback=True)
    made = {}
    for app in APPS:
        named = {app: config["apps"][app]}
        connection = get_connection(named[app]["default_connection"])
        made[app] = (MigrationExecutor(connection, named), Migrating(connection, named))
    yield made
    await Tortoise.close_connections()


@pytest.mark.parametrize("app", APPS)
async def test_each_migration_is_the_same_sql_as_by_the_library(app: str, executors: Any) -> None:
    theirs, ours = executors[app]
    await theirs.loader.build_graph()
    names = sorted(key.name for key in theirs.loader.graph.nodes)
    assert names

    for name in names:
        assert await ours.collect_sql(app, name) == await theirs.collect_sql(app, name)


async def test_who_ends_after_a_migration_leaves_what_the_next_goes_on_with(template: Template) -> None:
    """Each is on record when it is there: at any moment."""
    postgres = template.postgres
    superuser = await connect(postgres.superuser())
    for name in ENDED:
        await superuser.execute(f"create database {name} owner fieldward_owner")
        made = await connect(postgres.superuser(name))
        # As `setup_script` leaves it.
        await made.execute("alter schema public owner to fieldward_owner; revoke create on schema public from public")
        await made.close()
    main, keystore = (postgres.owner(name).dsn_parameters() for name in ENDED)
    reached = Databases(main=main, keystore=keystore)
    steps: list[tuple[str, str]] = []

    def end(event: str, app: str, name: str) -> None:
        steps.append((event, f"{app}.{name}"))
        if event == "apply_done":
            raise KeyboardInterrupt

    try:
        for _ in range(100):
            try:
                await migrate(reached, template.settings, progress=end)
            except KeyboardInterrupt:
                continue
            break
    finally:
        for name in ENDED:
            await superuser.execute(f"drop database {name} with (force)")
        await superuser.close()

    done = [name for event, name in steps if event == "apply_done"]
    assert len(done) == len(set(done)) > 15
    assert steps == [(event, name) for name in done for event in ("apply_start", "apply_done")]


async def test_what_looks_at_the_models_of_before_finds_them(executors: Any) -> None:
    class Away(migrations.Migration):
        operations = [ops.RemoveField("Project", "name"), ops.RemoveField("Device", "platform")]

    said = []
    for executor in executors["models"]:
        await executor.loader.build_graph()
        state = await executor._project_state(set(executor.loader.graph.nodes))
        editor = executor._schema_editor(atomic=False, collect_sql=True)
        await Away("away", "models").apply(state, schema_editor=editor, collect_sql=True)
        said.append([line for line in editor.collected_sql if not line.startswith("--")])

    assert said[0] == said[1]
    assert [("DROP COLUMN" in line, '"name"' in line or "platform" in line) for line in said[1]] == [
        (True, True),
        (True, True),
    ]


async def test_models_are_made_for_who_looks(executors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    render = ModelState.render

    def noted(state: ModelState, *arguments: Any, **named: Any) -> Any:
        made.append(state.name)
        return render(state, *arguments, **named)

    monkeypatch.setattr(ModelState, "render", noted)
    counts = []
    for executor in executors["models"]:
        made.clear()
        await executor.collect_sql("models", max(key.name for key in await _known(executor)))
        counts.append(len(made))

    assert counts[1] < counts[0]


async def _known(executor: MigrationExecutor) -> Any:
    await executor.loader.build_graph()
    return executor.loader.graph.nodes
