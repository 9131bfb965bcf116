"""A scene for questions of access: the demo with custom roles, an expired grant, programs, and clients who look."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from graphql import GraphQLObjectType, get_named_type, is_leaf_type, is_required_argument

from schema.api import Api
from tests.support.mutation import Stage, mutate, prepare
from tests.support.world import Answer, Client, World

SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()


@dataclass(frozen=True, slots=True)
class Scene:
    """The demo with roles of the organization's own, a grant that has expired, and two programs.

    The viewer was a manager in the second project, the member is a technician in the first and, in the organization,
    keeps the register; the programs may read comments, one in the first project alone.
    """

    stage: Stage
    technician: str
    registrar: str
    programs: dict[str, tuple[str, str]]
    objects: tuple[str, ...]

    async def client(self, world: World, who: str) -> Client:
        """Return the client of a person or program."""
        return Client(world.http, self.programs[who][1]) if who in self.programs else await world.client(who)

    async def principal(self, world: World, who: str) -> str:
        """Return the global id of a person or program."""
        return self.programs[who][0] if who in self.programs else f"User:{await world.member_id(who)}"


async def set_scene(world: World) -> Scene:
    """Make the scene."""
    stage, owner = await prepare(world), await world.client("owner")
    parks = f"Project:{await world.project_id('PARKS')}"
    technician = await create_role(owner, "Technician", "PROJECT", ["PROJECT_READ", "RECORD_READ", "RECORD_CREATE"])
    registrar = await create_role(owner, "Registrar", "ORGANIZATION", ["DEVICE_READ", "MEMBERSHIP_READ"])
    in_first = {"userId": stage.person, "projectId": stage.project, "customRoleId": technician, "expiresAt": SOON}
    await done(owner, "assignProjectRole", in_first)
    await done(owner, "assignOrganizationRole", {"userId": stage.person, "customRoleId": registrar})
    in_second = {"userId": stage.viewer, "projectId": parks, "role": "MANAGER", "expiresAt": SOON}
    await done(owner, "assignProjectRole", in_second)
    await as_superuser(
        world, "project_membership", "set expires_at = now() where role = 'MANAGER' and expires_at > now()"
    )
    programs = {
        "program": await create_program(owner, [stage.project]),
        "wide program": await create_program(owner, None),
    }
    return Scene(stage, technician, registrar, programs, await _objects(owner, stage, parks))


class Looking(Client):
    """A client that looks at what another would see, by the header that says so."""

    def __init__(self, client: Client, acting_as: str) -> None:
        super().__init__(client.http, client.token, password=client.password)
        self.acting_as = acting_as

    async def post(self, content: bytes, **headers: str) -> Answer:
        """Send a body as it is, as somebody else."""
        return await super().post(content, **{"fieldward-run-as": self.acting_as, **headers})


def selections(api: Api, type_name: str) -> dict[str, str]:
    """Return how each field of the type is asked for that takes no argument."""
    parent = api._schema.type_map[type_name]
    assert isinstance(parent, GraphQLObjectType)
    return {
        name: name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ __typename }}"
        for name, field in parent.fields.items()
        if not any(is_required_argument(one) for one in field.args.values())
    }


async def readable(client: Client, on: str, selections: dict[str, str]) -> dict[str, bool | None]:
    """Return which fields the client reads, by asking for them; None where a masked value is null and does not tell."""
    answer = await client.run(
        f'{{ node(id: "{on}") {{ ... on {on.partition(":")[0]} {{ {" ".join(selections.values())} }} }} }}'
    )
    node = answer.body["data"]["node"]
    if node is None:
        return dict.fromkeys(selections, False)
    assert set(answer.codes) <= {"FORBIDDEN"}
    refused = {error["path"][1] for error in answer.errors}
    found: dict[str, bool | None] = {}
    for name in selections:
        is_masked = isinstance(node[name], str) and node[name].startswith("person-")
        found[name] = None if name == "collector" and node[name] is None else name not in refused and not is_masked
    return found


async def create_role(owner: Client, name: str, level: str, permissions: list[str]) -> str:
    """Make a role of the organization's own and return its id."""
    made = await done(owner, "createRole", {"name": name, "level": level, "permissions": permissions}, "role { id }")
    return str(made["role"]["id"])


async def create_program(owner: Client, projects: list[str] | None) -> tuple[str, str]:
    """Make a service account of these projects, or of all, and return its id and its token."""
    given = {
        "name": "Reads",
        "permissions": ["PROJECT_READ", "RECORD_READ", "RECORD_READ_CONFIDENTIAL"],
        "projectIds": projects,
        "expiresAt": SOON,
    }
    made = await done(owner, "createServiceAccount", given, "token serviceAccount { id }")
    return made["serviceAccount"]["id"], made["token"]


async def done(client: Client, name: str, given: dict[str, Any], shown: str = "") -> Any:
    """Run a mutation that must succeed, and return its payload."""
    answer = await mutate(client, name, {**given, "reason": "Set up."}, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def as_superuser(world: World, table: str, change: str, *arguments: Any) -> None:
    """Update a table behind the back of its triggers."""
    await world.sql(f"alter table {table} disable trigger all")
    try:
        await world.sql(f"update {table} {change}", *arguments)
    finally:
        await world.sql(f"alter table {table} enable trigger all")


async def _objects(owner: Client, stage: Stage, parks: str) -> tuple[str, ...]:
    query = """
    query($parks: ID!) {
      projects(first: 5) { nodes { members(first: 10) { nodes { id user { id } } } } }
      records(first: 1, filter: {projectId: {eq: $parks}}) { nodes { id measurements { id } } }
      devices(first: 10) { nodes { id } }
      auditEntries(first: 2) { nodes { id } }
      serviceAccounts { nodes { id } }
      organization { id }
      viewer { user { id } }
    }
    """
    data = (await owner.run(query, {"parks": parks})).data
    members = [one for project in data["projects"]["nodes"] for one in project["members"]["nodes"]]
    record = data["records"]["nodes"][0]
    return (
        stage.project,
        parks,
        stage.draft,
        stage.submitted,
        record["id"],
        record["measurements"][0]["id"],
        *(one["id"] for one in members if one["user"]["id"] in {stage.person, stage.viewer}),
        *(one["id"] for one in data["devices"]["nodes"]),
        *(one["id"] for one in data["auditEntries"]["nodes"]),
        data["serviceAccounts"]["nodes"][0]["id"],
        data["organization"]["id"],
        data["viewer"]["user"]["id"],
        stage.person,
        stage.role,
    )
