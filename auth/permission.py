"""What a viewer may be allowed to do, as `noun:verb`.

The noun is a table's, in the singular, or `access` for looking at what others may do; the verbs `read`,
`read_confidential` and `read_personal` guard the columns of that table by their classification, the other verbs guard
what can be done to a row. A column of a table `x` that is CONFIDENTIAL is therefore guarded by `x:read_confidential`,
without anyone writing that down.
"""

from enum import StrEnum


class Permission(StrEnum):
    """Alphabetical by noun; the reading verbs first."""

    ACCESS_READ = "access:read"
    ACCESS_REVIEW = "access:review"
    ACCESS_RUN_AS = "access:run_as"

    AUDIT_READ = "audit:read"
    AUDIT_READ_CONFIDENTIAL = "audit:read_confidential"
    AUDIT_READ_PERSONAL = "audit:read_personal"
    AUDIT_SET_RETENTION = "audit:set_retention"

    DATA_IMPORT_READ = "data_import:read"

    DEVICE_READ = "device:read"
    DEVICE_READ_CONFIDENTIAL = "device:read_confidential"
    DEVICE_REGISTER = "device:register"
    DEVICE_BLOCK = "device:block"

    ERASURE_READ = "erasure:read"
    ERASURE_READ_CONFIDENTIAL = "erasure:read_confidential"
    ERASURE_READ_PERSONAL = "erasure:read_personal"
    ERASURE_REQUEST = "erasure:request"
    ERASURE_CONFIRM = "erasure:confirm"

    EXPORT_READ = "export:read"
    EXPORT_READ_CONFIDENTIAL = "export:read_confidential"
    EXPORT_ARCHIVE = "export:archive"
    EXPORT_DELETE = "export:delete"

    HOLD_READ = "hold:read"
    HOLD_READ_CONFIDENTIAL = "hold:read_confidential"
    HOLD_PLACE = "hold:place"
    HOLD_LIFT = "hold:lift"

    INCIDENT_READ = "incident:read"
    INCIDENT_READ_CONFIDENTIAL = "incident:read_confidential"
    INCIDENT_MANAGE = "incident:manage"

    MEMBERSHIP_READ = "membership:read"
    MEMBERSHIP_READ_PERSONAL = "membership:read_personal"
    MEMBERSHIP_ASSIGN = "membership:assign"

    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_SET_DOCUMENT_POLICY = "organization:set_document_policy"
    ORGANIZATION_SET_SIGN_IN_POLICY = "organization:set_sign_in_policy"

    PROJECT_READ = "project:read"
    PROJECT_CREATE = "project:create"
    PROJECT_UPDATE = "project:update"
    PROJECT_ARCHIVE = "project:archive"

    PROJECT_MEMBERSHIP_READ = "project_membership:read"
    PROJECT_MEMBERSHIP_ASSIGN = "project_membership:assign"

    RECORD_READ = "record:read"
    RECORD_READ_CONFIDENTIAL = "record:read_confidential"
    RECORD_READ_PERSONAL = "record:read_personal"
    RECORD_CREATE = "record:create"
    RECORD_UPDATE_OWN = "record:update_own"
    RECORD_UPDATE = "record:update"
    RECORD_SUBMIT = "record:submit"
    RECORD_REVIEW = "record:review"
    RECORD_DELETE = "record:delete"
    RECORD_IMPORT = "record:import"
    RECORD_EXPORT = "record:export"

    RETENTION_READ = "retention:read"
    RETENTION_SET = "retention:set"

    ROLE_READ = "role:read"
    ROLE_DEFINE = "role:define"

    SERVICE_ACCOUNT_READ = "service_account:read"
    SERVICE_ACCOUNT_CREATE = "service_account:create"
    SERVICE_ACCOUNT_REVOKE = "service_account:revoke"

    SITE_READ = "site:read"
    SITE_READ_CONFIDENTIAL = "site:read_confidential"
    SITE_CREATE = "site:create"
    SITE_UPDATE = "site:update"
    SITE_DELETE = "site:delete"
    TRUSTED_DOCUMENT_READ = "trusted_document:read"
    TRUSTED_DOCUMENT_REGISTER = "trusted_document:register"
    TRUSTED_DOCUMENT_REMOVE = "trusted_document:remove"

    @property
    def noun(self) -> str:
        """What it is about."""
        return self.value.partition(":")[0]

    @property
    def verb(self) -> str:
        """What may be done."""
        return self.value.partition(":")[2]

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return self.verb.startswith("read")
