"""What stands in letters to people: short, plain, and with nothing in it that is not its recipient's to know."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class MailText:
    """A subject and a text."""

    subject: str
    text: str = field(repr=False)


def reset_text(*, link: str, lifetime: timedelta) -> MailText:
    """Return the letter by which somebody sets a new password."""
    return MailText(
        "Set a new password for Fieldward",
        f"Somebody asked for a new password for your account, you or an administrator.\n\n"
        f"To set one, open this link within {_minutes(lifetime)}. It works once:\n\n{link}\n\n"
        "You are signed out everywhere then. Your second factor stays as it is.\n\n"
        "If you did not ask for this, there is nothing to do: your password stays as it is.\n",
    )


def changed_text(*, at: datetime, page: str) -> MailText:
    """Return the letter that says that a password was changed or set anew."""
    return MailText(
        "Your password for Fieldward was changed",
        f"The password of your account was changed at {_moment(at)}, and you were signed out elsewhere.\n\n"
        f"{_if_not_you(page)}",
    )


def factor_added_text(*, at: datetime, page: str) -> MailText:
    """Return the letter that says that a second factor was added."""
    return MailText(
        "A second factor was added to your account in Fieldward",
        f"A way to prove who you are was added to your account at {_moment(at)}.\n\n{_if_not_you(page)}",
    )


def factor_removed_text(*, at: datetime, page: str) -> MailText:
    """Return the letter that says that a second factor was removed."""
    return MailText(
        "A second factor was removed from your account in Fieldward",
        f"A way to prove who you are was removed from your account at {_moment(at)}.\n\n{_if_not_you(page)}",
    )


def recovery_code_text(*, at: datetime, page: str) -> MailText:
    """Return the letter that says that a recovery code was used."""
    return MailText(
        "A recovery code was used to sign in to Fieldward",
        f"Somebody signed in to your account with one of its recovery codes at {_moment(at)}. It works no more.\n\n"
        f"{_if_not_you(page)}",
    )


def unusual_text(*, at: datetime, page: str) -> MailText:
    """Return the letter that says that somebody else may have their password, or a sign-in of theirs."""
    return MailText(
        "Somebody may be signing in to Fieldward as you",
        f"At {_moment(at)} one of these happened: your password was given, and the second step then answered wrong"
        " until no more answers were taken; or a sign-in of yours was used by two, and was ended for both.\n\n"
        "You are told of this once a day at most. If it was you, there is nothing to do.\n\n"
        f"{_if_not_you(page)}",
    )


def invitation_text(*, organization: str, link: str, expires_at: datetime) -> MailText:
    """Return the letter by which somebody becomes a member."""
    return MailText(
        f"{organization} invites you to Fieldward",
        f"{organization} invites you to work with them in Fieldward.\n\n"
        f"To accept, open this link until {_moment(expires_at)}. It works once:\n\n{link}\n\n"
        "If you do not know what this is about, there is nothing to do.\n",
    )


def token_expires_text(*, organization: str, account: str, hint: str, expires_at: datetime) -> MailText:
    """Return the letter that says that a program will soon be refused."""
    return MailText(
        f"A program's token expires: {account}",
        f"The token of the service account {account} of {organization} that ends with {hint} expires at"
        f" {_moment(expires_at)}.\n\nIssue a new one and give it to the program before; both work until then.\n",
    )


def review_due_text(*, organization: str, page: str) -> MailText:
    """Return the letter that asks for a review of who has access."""
    return MailText(
        f"The access review of {organization} is due",
        f"It is time to look at who has access to the data of {organization}, and to say who keeps it.\n\n"
        f"Sign in: {page}\n",
    )


def erasure_confirm_text(*, organization: str, link: str, due_at: datetime) -> MailText:
    """Return the letter by which somebody confirms that they are to be erased."""
    return MailText(
        "Confirm that you are to be erased from Fieldward",
        f"You, or {organization}, asked that your account and all that is yours be erased, in every organization.\n\n"
        f"To confirm it, open this link until {_moment(due_at)}. It works once:\n\n{link}\n\n"
        "After that there is a while in which you can take it back, and then no way back.\n\n"
        "If you do not want this, there is nothing to do.\n",
    )


def erasure_asked_text(*, organization: str, request: str, page: str) -> MailText:
    """Return the letter that tells an owner that the erasure of their organization was asked for."""
    return MailText(
        f"Somebody asked that {organization} be erased from Fieldward",
        f"An owner of {organization} asked that all of it be erased. Nothing is done until it is confirmed: by another"
        " owner, or, where there is one alone, by that one, with two factors.\n\nWhoever is an owner can take it back:"
        f" sign in, and withdraw the request {request}.\n\n{page}\n",
    )


def erasure_scheduled_text(*, what: str, execute_after: datetime, request: str, page: str) -> MailText:
    """Return the letter that says from when on something is erased. what: you, or the organization."""
    return MailText(
        f"Fieldward will erase {what}",
        f"It was confirmed that {what} be erased. It will be done at {_moment(execute_after)} or soon after, and there"
        f" is no way back then.\n\nUntil then it can be taken back: sign in, and withdraw the request {request}.\n\n"
        f"{page}\n\nIf you want a copy of what is yours, take it before.\n",
    )


def erasure_withdrawn_text(*, at: datetime) -> MailText:
    """Return the letter that says that nobody is erased after all."""
    return MailText(
        "You will not be erased from Fieldward",
        f"The request that your account be erased was taken back at {_moment(at)}. Nothing was erased.\n",
    )


def erasure_done_text(*, certificate: str) -> MailText:
    """Return the letter that says that somebody was erased: the last that they get."""
    return MailText(
        "You were erased from Fieldward",
        "Your account and what was yours are erased. What was done, and what is left and why, says this certificate. It"
        " is signed, and anybody who has the key of this installation can verify it. Keep it: we have no address of"
        f" yours any more.\n\n{certificate}",
    )


def _if_not_you(page: str) -> str:
    return f"If that was not you, set a new password at once and tell your administrator:\n\n{page}\n"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _minutes(lifetime: timedelta) -> str:
    return f"{lifetime // timedelta(minutes=1)} minutes"
