"""`organization` and `user`: tenants and people, for operators."""

import getpass
import json
import sys
from typing import Annotated

import typer

from auth.role import OrganizationRole
from fieldward.cli.environment import load_settings, operator, reach, run, services
from models.membership import MembershipStatus
from resolvers.account import NewPerson, create_organization, create_person, member_viewer, set_member_status
from resolvers.trail import Actor

organization_app = typer.Typer(help="Tenants.", no_args_is_help=True)
user_app = typer.Typer(help="People.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@organization_app.callback()
def _organization() -> None:
    """Tenants."""


@organization_app.command("create")
def create_organization_command(
    slug: Annotated[str, typer.Argument(help="The name to sign in to: letters, digits, hyphens.")],
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    owner_email: Annotated[str, typer.Option(help="The first owner's address.")],
    owner_name: Annotated[str, typer.Option(help="The first owner's name.")],
    as_json: AsJson = False,
) -> None:
    """Create an organization with its first owner, whose password is read from the terminal or standard input.

    Example: fieldward organization create acme "Acme Water" --owner-email ada@acme.example --owner-name Ada
    """
    password = read_password()

    async def work() -> dict[str, str]:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service) as built:
                owner = NewPerson(owner_email, password, owner_name, OrganizationRole.OWNER)
                organization_id, owner_id = await create_organization(
                    built, operator(), slug=slug, name=name, owner=owner
                )
                return {"organization": str(organization_id), "owner": f"User:{owner_id}"}

    show(run(work()), as_json)


@user_app.callback()
def _user() -> None:
    """People."""


@user_app.command("create")
def create_user_command(
    email: Annotated[str, typer.Argument(help="The address to sign in with.")],
    name: Annotated[str, typer.Option(help="The name as the organization shows it.")],
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    acting: Annotated[str, typer.Option("--as", help="The address of the member in whose name this is done.")],
    role: Annotated[OrganizationRole, typer.Option(help="The role.")] = OrganizationRole.MEMBER,
    as_json: AsJson = False,
) -> None:
    """Create a person's account and make them a member. The password is read from the terminal or standard input.

    Example: fieldward user create bo@acme.example --name Bo --organization acme --as ada@acme.example
    """
    password = read_password()

    async def work() -> dict[str, str]:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service) as built:
                owner = await member_viewer(organization, email=acting)
                member_id = await create_person(
                    built,
                    Actor(owner.organization_id, operator().origin, owner),
                    organization_id=owner.organization_id,
                    new=NewPerson(email, password, name, role),
                )
                return {"user": f"User:{member_id}"}

    show(run(work()), as_json)


@user_app.command("suspend")
def suspend_command(
    email: Annotated[str, typer.Argument(help="The member's address.")],
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    acting: Annotated[str, typer.Option("--as", help="The address of the member in whose name this is done.")],
    reason: Annotated[str, typer.Option(help="Why, for the trail.")],
    reinstate: Annotated[bool, typer.Option(help="Let them in again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Suspend a member: their sessions are refused from the next request on.

    Example: fieldward user suspend bo@acme.example --organization acme --as ada@acme.example --reason "Left in March"
    """

    async def work() -> dict[str, str]:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service):
                viewer = await member_viewer(organization, email=email, active=not reinstate)
                admin = await member_viewer(organization, email=acting)
                status = MembershipStatus.ACTIVE if reinstate else MembershipStatus.SUSPENDED
                await set_member_status(
                    Actor(admin.organization_id, operator().origin, admin),
                    organization_id=viewer.organization_id,
                    membership_id=viewer.principal_id,
                    status=status,
                    reason=reason,
                )
                return {"user": f"User:{viewer.principal_id}", "status": status}

    show(run(work()), as_json)


def read_password() -> str:
    """Read a password: asked twice on a terminal, one line of standard input otherwise. Never an argument."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        print("fieldward: the two are not the same", file=sys.stderr)
        raise typer.Exit(2)
    return first


def show(result: dict[str, str], as_json: bool) -> None:
    """Print a command's result."""
    print(json.dumps(result) if as_json else "\n".join(f"{name}: {value}" for name, value in result.items()))
