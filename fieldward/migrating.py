"""How migrations are applied: each one whole, or not at all, and on record with it.

They are Tortoise's, and so is what reads and runs them. Its own loop notes a migration after it was committed: a
process that ended in between left a database that no later one could go on with. And before each operation the library
makes all models of the schema anew, as they were before it, and ready to be queried: more than half of the time in
which an empty database gets its schema, and a new service its first answer. Ours say in SQL what they do with rows, and
few of them look at the models of before.
"""

from collections.abc import Callable

from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.recorder import MigrationRecorder
from tortoise.migrations.schema_generator.state import ModelState, State
from tortoise.migrations.schema_generator.state_apps import StateApps
from tortoise.models import Model
from tortoise.transactions import in_transaction

Described = dict[tuple[str, str], ModelState]
"""What the models of a schema are, by application and name: what they are made of."""


class Migrating(MigrationExecutor):
    """Applies migrations with the SQL that the library would."""

    async def forward(self, progress: Callable[[str, str, str], object]) -> None:
        """Apply what is not applied yet.

        progress: is told `apply_start` and `apply_done` of each, with its application and name.
        """
        await self.loader.build_graph()
        await self.recorder.ensure_schema(self._schema_editor(atomic=False))
        _, rows = await self.connection.execute_query(f"select app, name from {self.recorder.table_name}")  # noqa: S608
        applied = {MigrationKey(app_label=row["app"], name=row["name"]) for row in rows}
        plan = self._migration_plan(None, applied, self.loader.graph)
        self._validate_plan_direction(plan, "forward")
        if not plan:
            return
        state = await self._project_state(applied)
        for step in plan:
            named = step.migration.app_label, step.migration.name
            progress("apply_start", *named)
            editor = self._schema_editor(atomic=step.migration.atomic)
            if editor.atomic_migration:
                async with in_transaction(self.connection.connection_name) as client:
                    editor.client = client
                    await step.migration.apply(state, schema_editor=editor)
                    await MigrationRecorder(client).record_applied(*named)
            else:
                # Of several transactions. It can be done again (docs/operations.md).
                await step.migration.apply(state, schema_editor=editor)
                await self.recorder.record_applied(*named)
            progress("apply_done", *named)

    async def _project_state(self, applied: set[MigrationKey], *, upto: MigrationKey | None = None) -> State:
        named = {label: config["default_connection"] for label, config in self.loader.apps_config.items()}
        state = State(models={}, apps=_Models(default_connections=named))
        for key in self._full_plan():
            if key == upto:
                break
            if key in applied:
                migration = self.loader.graph.nodes[key]
                if migration is None:
                    raise ValueError(f"Missing migration for {key}")
                await migration.apply(state, dry_run=True)
        return state


class _Models(StateApps):
    """The models of a schema. Those of a copy are made when somebody looks at them."""

    _made: dict[str, dict[str, type[Model]]]
    _described: Described | None = None
    """What is not made yet; None once it is."""

    @property
    def apps(self) -> dict[str, dict[str, type[Model]]]:
        """The models, by application and name."""
        if self._described is not None:
            described, self._described = self._described, None
            for (label, _), one in described.items():
                self.register_model(label, one.render(self, deepcopy_fields=False))
            self._init_relations()
        return self._made

    @apps.setter
    def apps(self, made: dict[str, dict[str, type[Model]]]) -> None:
        self._made = made

    def clone(self, model_states: Described | None = None) -> StateApps:
        """Return a copy of what is described, with nothing made yet."""
        copied = type(self)(default_connections=dict(self._default_connections), connections=self._connections)
        copied._described = {} if model_states is None else model_states
        return copied

    def _build_initial_querysets(self) -> None:
        """Nothing is read or written by these models."""
