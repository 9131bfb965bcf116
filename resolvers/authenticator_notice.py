"""Telling somebody what happened to what they sign in with, so that they hear of it where they did not do it."""

from uuid import UUID

from models.outgoing_mail import MailKind
from models.session import Factor
from resolvers.change import Change
from resolvers.mailing import enqueue
from resolvers.second_factor import Proof


async def tell_person(change: Change, kind: MailKind, *, user_id: UUID) -> None:
    """Have a mail of the kind sent to the person's own address, once the change is committed."""
    await enqueue(change, kind=kind, user_id=user_id)


async def tell_used(change: Change, proof: Proof, *, user_id: UUID) -> None:
    """Tell the person where a recovery code of theirs was used: there is one less, and it may not have been them."""
    if proof.factor is Factor.RECOVERY_CODE:
        await tell_person(change, MailKind.RECOVERY_CODE_USED, user_id=user_id)
