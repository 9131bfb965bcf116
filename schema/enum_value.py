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
    "TrustedDocumentPolicy": {
        "ANY": "Every operation.",
        "TRUSTED_ONLY": "What clients' builds registered, and the operations of our own pages.",
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
    "ChangedType": {"RECORD": "A record.", "DEVICE": "A device.", "PROJECT": "A project.", "SITE": "A site."},
    "ImportKind": {
        "WQX_CSV": "Results as the Water Quality Portal gives them, in the older layout.",
        "WQX3_CSV": "Results as the Water Quality Portal gives them, in the layout of WQX 3.",
        "CSV": "Any table, by a mapping.",
        "GEOJSON_SITES": "Sites as GeoJSON (RFC 7946), a row for each feature.",
    },
    "ImportStatus": {
        "OPEN": "The file is not there yet, or not all of it.",
        "UPLOADED": "The file is there, and can be started.",
        "RUNNING": "Its rows are read: to be written or, in a dry run, to be judged.",
        "CHECKED": "A dry run is through; nothing was written.",
        "DONE": "Each row was imported or rejected.",
        "FAILED": "It came to an end before that, and can be started again.",
        "CANCELLED": "It was called off, and the file is gone.",
        "EXPIRED": "Nobody went on with it, and the file is gone.",
    },
    "ImportRowFate": {
        "CREATED": "Something of it was new.",
        "KNOWN": "All of it was there already.",
        "REJECTED": "It can't be imported, for the reason that is given.",
        "BLANK": "There is nothing in it.",
    },
    "ImportField": {
        "SITE_CODE": "The code of the site.",
        "SITE_NAME": "The name of the site.",
        "LATITUDE": "Degrees north of the equator.",
        "LONGITUDE": "Degrees east of Greenwich.",
        "COLLECTED_AT": "When it was collected: the date with its time.",
        "DATE": "The date alone.",
        "TIME": "The time alone.",
        "TIME_ZONE": "The time zone of the row.",
        "ACTIVITY": "What tells visits apart; without it, rows of one site and one moment are one record.",
        "ACTIVITY_TYPE": "What kind of visit or sample it is.",
        "MEDIUM": "What was sampled.",
        "METHOD": "How it was collected.",
        "COLLECTOR": "Who collected it.",
        "COMMENT": "The record's comment.",
        "CHARACTERISTIC": "What was measured.",
        "FRACTION": "Which part of the sample was measured, such as the dissolved one.",
        "VALUE": "What the measurement gave.",
        "UNIT": "The unit of the value.",
        "QUALIFIER": "What restricts the result.",
        "DETECTION_CONDITION": "Why there is no value, such as one below the limit of detection.",
        "DETECTION_LIMIT": "The limit of detection.",
        "DETECTION_LIMIT_UNIT": "The unit of the limit.",
        "DETECTION_LIMIT_TYPE": "Which limit it is.",
        "RESULT_METHOD": "How it was analysed.",
        "RESULT_STATUS": "How final the result is.",
        "VALUE_TYPE": "Whether the value was measured, calculated or estimated.",
        "RESULT_COMMENT": "The measurement's comment.",
    },
    "ImportDelimiter": {
        "COMMA": "A comma.",
        "SEMICOLON": "A semicolon.",
        "TAB": "A tabulator.",
        "PIPE": "A vertical bar.",
    },
    "ImportEncoding": {
        "UTF_8": "UTF-8.",
        "UTF_16": "UTF-16, whose first two bytes say in which order.",
        "WINDOWS_1252": "Windows-1252, of older programs on Windows.",
        "ISO_8859_1": "ISO 8859-1, also called Latin-1.",
    },
    "ImportDateOrder": {
        "YMD": "Year, month, day.",
        "DMY": "Day, month, year.",
        "MDY": "Month, day, year.",
    },
    "ExportFormat": {
        "CSV": "A table (RFC 4180), with a row for each measurement.",
        "GEOJSON": "GeoJSON (RFC 7946), with a feature for each record.",
        "PARQUET": "Apache Parquet, with a row for each measurement.",
        "WQX_XML": "A submission of WQX 3.0, as XML.",
        "ARCHIVE": "Everything of the organization, as a zip.",
        "PERSON": "Everything about whoever asked for it, as a zip.",
    },
    "ErasureKind": {
        "PERSON": "An account, with all names of the person, in every organization that they belong to.",
        "NAME": "Somebody whom records name as their collector.",
        "ORGANIZATION": "All that the organization has sealed.",
    },
    "ErasureStatus": {
        "REQUESTED": "It waits to be confirmed.",
        "CONFIRMED": "It can be taken back, and is carried out after that.",
        "EXECUTING": "It is being carried out. There is no way back.",
        "DONE": "It is done, and there is a certificate.",
        "WITHDRAWN": "It was taken back.",
    },
    "ExportStatus": {
        "PENDING": "It waits for its turn, or is being made.",
        "READY": "There is a file.",
        "FAILED": "It came to nothing.",
        "REVOKED": "Whoever asked for it may read less than when it began.",
        "CANCELLED": "It was called off.",
        "EXPIRED": "Its time is over, and the file is gone.",
        "DELETED": "It was deleted before its time.",
    },
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
        "SEALED_FILE": "As a piece of a file, sealed under a key that the file has for itself.",
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
        "EXPORT": "An export.",
        "IMPORT": "A file that waits to be imported.",
        "ERASURE": "A request for an erasure.",
    },
    "DataKeyPurpose": {
        "VALUES": "Seals what rows hold.",
        "INDEX": "Makes blind indexes, pseudonyms, cursors and digests.",
        "ATTRIBUTION": "Seals who vouched for a row, as long as the row is kept.",
        "SIGNING": "Signs access tokens.",
        "CONTENT": "Seals a file, and is destroyed with it.",
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
        "PERSISTED_QUERY_NOT_FOUND": "Nothing is known under this hash: send the text with it.",
        "UNTRUSTED_DOCUMENT": "The organization runs trusted documents alone, and this is none.",
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
