"""What each value of the contract's enums says, where it is not said beside the value."""

from collections.abc import Mapping
from typing import Final

VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    "OrganizationRole": {
        "OWNER": "May do everything.",
        "ADMIN": "May do everything but what is the owner's alone.",
        "AUDITOR": "Reads everything, the trail included, and changes nothing.",
        "MEMBER": "May do what projects grant.",
    },
    "ProjectRole": {
        "MANAGER": "Runs the project: its records, its people, and what it is.",
        "REVIEWER": "Approves and rejects the records of others.",
        "COLLECTOR": "Makes records, and submits them.",
        "VIEWER": "Reads, and changes nothing.",
    },
    "RoleLevel": {"ORGANIZATION": "In the whole organization.", "PROJECT": "In single projects."},
    "OrganizationStatus": {
        "ACTIVE": "At work.",
        "SUSPENDED": "Nobody gets in.",
        "ERASING": "On its way out; nobody gets in.",
    },
    "UserStatus": {
        "ACTIVE": "Gets in.",
        "SUSPENDED": "Can't get in, for now.",
        "REMOVED": "Has left, and comes back by an invitation alone.",
        "ERASED": "Has left, and the name is gone.",
    },
    "InvitationStatus": {
        "PENDING": "Not answered; it may be over, and is renewed by sending it again.",
        "ACCEPTED": "Who was asked has joined.",
        "REVOKED": "It was taken back.",
    },
    "ProjectStatus": {"ACTIVE": "Takes records.", "ARCHIVED": "Is read, and takes nothing more."},
    "DevicePlatform": {
        "ANDROID": "A phone or tablet with Android.",
        "IOS": "A phone or tablet of Apple's.",
        "WINDOWS": "A computer with Windows.",
        "LOGGER": "A logger, which measures by itself.",
    },
    "DeviceStatus": {"ACTIVE": "May be used.", "BLOCKED": "Is refused at its next request."},
    "RecordStatus": {
        "DRAFT": "Being written.",
        "SUBMITTED": "Waits for its review.",
        "APPROVED": "May be used.",
        "REJECTED": "Has to be mended, and is submitted again then.",
    },
    "Medium": {
        "WATER": "Water, of the surface or of the ground.",
        "SEDIMENT": "What lies at the bottom.",
        "SOIL": "Soil.",
        "AIR": "Air.",
        "BIOLOGICAL": "Living things: their presence, number or state.",
        "HABITAT": "Where they live.",
        "TISSUE": "Parts of living things.",
        "OTHER": "Anything else.",
    },
    "SignatureMeaning": {
        "REVIEW": "The record was looked through.",
        "APPROVAL": "The record may be used.",
        "RESPONSIBILITY": "The signer answers for the record.",
    },
    "AuditEntryKind": {
        "CHANGE": "What happened, committed with it.",
        "ATTEMPT": "What was refused, or failed.",
        "READ": "Who saw what.",
    },
    "AuditOutcome": {"DONE": "It is so.", "DENIED": "The policy said no.", "FAILED": "It was wrong, or it broke."},
    "ChangeOperation": {
        "INSERT": "The row was made.",
        "UPDATE": "The row was changed.",
        "DELETE": "The row was deleted.",
    },
    "SignInFactor": {
        "PASSWORD": "A password.",
        "TOTP": "A code that an app showed.",
        "PASSKEY": "A passkey.",
        "RECOVERY_CODE": "A code for when everything else is lost.",
    },
    "SignInDelivery": {
        "TOKENS": "By tokens that a program keeps.",
        "COOKIE": "By a browser's cookie, which no script can read.",
    },
    "AuthenticatorKind": {
        "TOTP": "An app that shows codes (RFC 6238).",
        "PASSKEY": "A key of a device, by WebAuthn.",
        "RECOVERY_CODE": "A code that is good once.",
    },
    "ReviewedKind": {
        "MEMBERSHIP": "A role in the organization.",
        "PROJECT_MEMBERSHIP": "A role in a project.",
        "SERVICE_ACCOUNT": "A program's identity.",
        "DEVICE": "A device.",
    },
    "ReviewDecision": {"KEEP": "They keep it.", "REMOVE": "It is taken away."},
    "IncidentSeverity": {
        "LOW": "When there is time.",
        "MEDIUM": "Within the day.",
        "HIGH": "Soon.",
        "CRITICAL": "At once.",
    },
    "IncidentStatus": {
        "OPEN": "Nobody has said that they look into it.",
        "ACKNOWLEDGED": "Somebody looks into it.",
        "CLOSED": "Done with: what happens again is another incident.",
    },
    "TimeBucket": {
        "HOUR": "From one full hour to the next.",
        "DAY": "A day, in UTC.",
        "WEEK": "From Monday to Sunday (ISO 8601).",
        "MONTH": "A month of the calendar.",
        "QUARTER": "Three months, from January, April, July or October.",
        "YEAR": "A year of the calendar.",
    },
    "AccessSource": {
        "STANDING": "Whether the person or program gets in at all.",
        "MEMBERSHIP": "That they belong to the organization.",
        "ORGANIZATION_ROLE": "A role in the organization.",
        "PROJECT_ROLE": "A role in the project.",
        "OWN": "That it is about themselves.",
        "TOKEN_SCOPE": "What the program's token allows.",
        "VISIBILITY": "Whether they see the object.",
    },
    "Classification": {
        "PUBLIC": "May leave the company.",
        "INTERNAL": "Ordinary data of projects.",
        "CONFIDENTIAL": "Secrets of clients and free texts; stored encrypted, and each reading is noted.",
        "PERSONAL": "Names or describes a person; stored encrypted, and each reading is noted.",
        "SECRET": "Credentials and keys; never in the API.",
    },
    "DataStorage": {
        "PLAIN": "As it is.",
        "ENCRYPTED": "As ciphertext.",
        "BLIND_INDEX": "As a keyed fingerprint, by which equal values are found.",
        "PSEUDONYM": "As a keyed fingerprint, of which a name's pseudonym is made.",
        "CONTENT_DIGEST": "As a keyed digest of what the row was created from.",
        "TOKEN_DIGEST": "As the SHA-256 of a random token.",
        "PASSWORD_HASH": "As an Argon2id hash.",
    },
    "DataPlace": {
        "INSTALLATION": "Outside the organizations, which see their own people's.",
        "ORGANIZATION": "In an organization.",
        "PROJECT": "In a project.",
    },
    "DataKeyOwner": {
        "SYSTEM": "The installation.",
        "ORGANIZATION": "An organization.",
        "PERSON": "A person who signs in.",
        "SUBJECT": "Somebody whom an organization's data name.",
    },
    "DataKeyPurpose": {
        "VALUES": "Seals what rows hold.",
        "INDEX": "Makes blind indexes, pseudonyms, cursors and digests.",
        "ATTRIBUTION": "Seals who vouched for a row, as long as the row is kept.",
        "SIGNING": "Signs access tokens.",
    },
    "DataOtherwise": {
        "NOTHING": "Seeing the row is enough.",
        "NULL_AND_ERROR": "Null, and one FORBIDDEN for the field.",
        "PSEUDONYM": "A pseudonym.",
        "NOT_IN_API": "Nobody reads it in the API.",
    },
    "ErrorCode": {
        "UNAUTHENTICATED": "Nobody is signed in, or the sign-in is no longer good.",
        "FORBIDDEN": "You may not do this; `permission` says what is missing.",
        "REAUTHENTICATE": "Prove anew who you are, and try again.",
        "NOT_FOUND": "There is no such object for you.",
        "CONFLICT": "It is not, or no longer, as you believe: another version, a taken id, another state.",
        "INVALID_INPUT": "A value is not what was expected; `field` says which.",
        "RATE_LIMITED": "Too many tries; wait as long as `retryAfter` says.",
        "TOO_COMPLEX": "The operation asks for too much at once.",
        "UNAVAILABLE": "Something that the service stands on is away; try again later.",
        "UNKNOWN_OUTCOME": "It may have happened: ask again by its id.",
        "INTERNAL": "Something broke, and was logged under the request's id.",
    },
}
"""By enum and value. A test demands every value of the contract here or beside its declaration, and no other."""

PERMISSIONS: Final[Mapping[str, str]] = {
    "access:read": "To ask who may do what, and why.",
    "access:review": "To open and close reviews of access, and to decide in them.",
    "access:run_as": "To look as somebody else would, without changing anything.",
    "audit:read": "To read the audit trail, and to verify it.",
    "audit:set_retention": "To decide how long entries of the trail are kept.",
    "membership:assign": "To give people roles in the organization, to invite, suspend and remove them.",
    "organization:set_sign_in_policy": "To decide what a sign-in takes.",
    "project_membership:assign": "To give people roles in a project.",
    "record:update_own": "To change the drafts that one made.",
    "record:review": "To approve and to reject records of others.",
}
"""What a permission is for, where its words alone don't say."""


def permission_description(permission: str) -> str:
    """Return what a permission is for."""
    if permission in PERMISSIONS:
        return PERMISSIONS[permission]
    noun, _, verb = permission.partition(":")
    noun, verb = noun.replace("_", " "), verb.replace("_", " ")
    if verb == "read":
        return f"To see what there is of the kind: {noun}; and what is INTERNAL of it."
    if verb.startswith("read "):
        return f"To read what is {verb.removeprefix('read ').upper()} of the kind: {noun}."
    return f"To {verb}: {noun}."
