"""Tortoise's executor of migrations, without the work that none of ours needs.

Before each operation the library makes all models of the schema anew, as they were before it, and ready to be queried:
more than half of the time in which an empty database gets its schema, and a new service its first answer. Ours say in
SQL what they do with rows, and few of them look at the models of before.
"""

from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.schema_generator.state import ModelState, State
from tortoise.migrations.schema_generator.state_apps import StateApps
from tortoise.models import Model

Described = dict[tuple[str, str], ModelState]
"""What the models of a schema are, by application and name: what they are made of."""


class Migrating(MigrationExecutor):
    """Applies migrations as the library does, to the letter of the SQL."""

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
