"""Deciding what an organization demands of who signs in."""

from uuid import UUID

from auth.errors import ForbiddenError
from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.errors import ConflictError
from models.inventory import entity_of
from models.organization import Organization
from resolvers.change import Change
from resolvers.membership import lock_standing
from resolvers.standing import is_multi_factor
from resolvers.writing import require_writable


async def set_sign_in_policy(change: Change, *, demands_second_factor: bool) -> UUID:
    """Decide whether everybody needs a second factor, and return the organization's id. It holds from the next request.

    Raises:
        ForbiddenError: without `organization:set_sign_in_policy`; or, to demand one, in a session without one: whoever
            decides that would shut themselves out.
        ConflictError: it is decided so already.
    """
    change = await lock_standing(change)
    require(change.viewer, Permission.ORGANIZATION_SET_SIGN_IN_POLICY, ORGANIZATION)
    values = {"demands_second_factor": demands_second_factor}
    require_writable(change, entity_of(Organization), ORGANIZATION, values, at=("input",))
    if demands_second_factor and not is_multi_factor(change.viewer.factors):
        raise ForbiddenError(
            "You signed in without a second factor, and would shut yourself out. Add one, or sign in with it.",
            field=("input", "demandsSecondFactor"),
        )
    organization = await Organization.get(id=change.organization_id, using_db=change.connection)
    if organization.demands_second_factor == demands_second_factor:
        raise ConflictError("It is decided so already.", field=("input", "demandsSecondFactor"))
    organization.demands_second_factor = demands_second_factor
    await organization.save(using_db=change.connection, update_fields=["demands_second_factor"])
    return organization.id
