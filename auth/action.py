"""What can be done and is written to the audit trail, as `noun.verb`. Names are never reused for something else."""

from enum import StrEnum


class Action(StrEnum):
    """Every act, of a principal or of the service itself, that leaves an entry."""

    ACCESS_RUN_AS = "access.run_as"

    ACCESS_REVIEW_CLOSE = "access_review.close"
    ACCESS_REVIEW_DECIDE = "access_review.decide"
    ACCESS_REVIEW_OPEN = "access_review.open"

    AUDIT_EXPIRE = "audit.expire"
    AUDIT_EXPORT = "audit.export"
    AUDIT_READ = "audit.read"
    AUDIT_RESTART = "audit.restart"
    AUDIT_SEAL = "audit.seal"
    AUDIT_SET_RETENTION = "audit.set_retention"
    AUDIT_VERIFY = "audit.verify"

    AUTHENTICATOR_ADD = "authenticator.add"
    AUTHENTICATOR_BEGIN = "authenticator.begin"
    AUTHENTICATOR_REMOVE = "authenticator.remove"
    AUTHENTICATOR_RENAME = "authenticator.rename"
    AUTHENTICATOR_RENEW_CODES = "authenticator.renew_codes"
    AUTHENTICATOR_RESET = "authenticator.reset"

    BACKUP_CREATE = "backup.create"

    DATA_IMPORT_CANCEL = "data_import.cancel"
    DATA_IMPORT_CREATE = "data_import.create"
    DATA_IMPORT_FINISH = "data_import.finish"
    DATA_IMPORT_FORGET = "data_import.forget"
    DATA_IMPORT_START = "data_import.start"
    DATA_IMPORT_UPLOAD = "data_import.upload"

    DATABASE_RESTORE = "database.restore"

    DEVICE_BLOCK = "device.block"
    DEVICE_ENROL = "device.enrol"
    DEVICE_HAND_OVER = "device.hand_over"
    DEVICE_REGISTER = "device.register"
    DEVICE_START_ENROLMENT = "device.start_enrolment"
    DEVICE_UNBLOCK = "device.unblock"

    ERASURE_CONFIRM = "erasure.confirm"
    ERASURE_FINISH = "erasure.finish"
    ERASURE_FORGET = "erasure.forget"
    ERASURE_HOLD = "erasure.hold"
    ERASURE_LAPSE = "erasure.lapse"
    ERASURE_REQUEST = "erasure.request"
    ERASURE_SEND = "erasure.send"
    ERASURE_START = "erasure.start"
    ERASURE_WITHDRAW = "erasure.withdraw"

    EVIDENCE_COLLECT = "evidence.collect"

    EXPORT_ARCHIVE = "export.archive"
    EXPORT_CANCEL = "export.cancel"
    EXPORT_CREATE = "export.create"
    EXPORT_CREATE_LINK = "export.create_link"
    EXPORT_DELETE = "export.delete"
    EXPORT_DOWNLOAD = "export.download"
    EXPORT_EXPIRE = "export.expire"
    EXPORT_FINISH = "export.finish"

    FIELD_READ = "field.read"

    HOLD_LIFT = "hold.lift"
    HOLD_PLACE = "hold.place"

    IMPORT_MAPPING_CREATE = "import_mapping.create"
    IMPORT_MAPPING_DELETE = "import_mapping.delete"
    IMPORT_MAPPING_UPDATE = "import_mapping.update"

    INCIDENT_ACKNOWLEDGE = "incident.acknowledge"
    INCIDENT_CLOSE = "incident.close"
    INCIDENT_OPEN = "incident.open"
    INCIDENT_RECUR = "incident.recur"

    INVITATION_ACCEPT = "invitation.accept"
    INVITATION_CREATE = "invitation.create"
    INVITATION_RESEND = "invitation.resend"
    INVITATION_REVOKE = "invitation.revoke"
    INVITATION_SEND = "invitation.send"

    KEY_DESTROY = "key.destroy"
    KEY_PRUNE = "key.prune"
    KEY_RESEAL = "key.reseal"
    KEY_REWRAP = "key.rewrap"
    KEY_ROTATE = "key.rotate"

    MEMBERSHIP_ASSIGN = "membership.assign_role"
    MEMBERSHIP_REMOVE = "membership.remove_role"

    ORGANIZATION_CREATE = "organization.create"
    ORGANIZATION_ERASE = "organization.erase"
    ORGANIZATION_IMPORT = "organization.import"
    ORGANIZATION_SET_DOCUMENT_POLICY = "organization.set_document_policy"
    ORGANIZATION_SET_SIGN_IN_POLICY = "organization.set_sign_in_policy"

    PROJECT_ARCHIVE = "project.archive"
    PROJECT_CREATE = "project.create"
    PROJECT_EMPTY_FIELDS = "project.empty_fields"
    PROJECT_REWRITE_LOCATIONS = "project.rewrite_locations"
    PROJECT_SET_FIELDS = "project.set_fields"
    PROJECT_SET_LOCATION_SENSITIVITY = "project.set_location_sensitivity"
    PROJECT_UPDATE = "project.update"

    PROJECT_MEMBERSHIP_ASSIGN = "project_membership.assign_role"
    PROJECT_MEMBERSHIP_REMOVE = "project_membership.remove_role"

    RECORD_APPROVE = "record.approve"
    RECORD_CREATE = "record.create"
    RECORD_DELETE = "record.delete"
    RECORD_IMPORT = "record.import"
    RECORD_REJECT = "record.reject"
    RECORD_SUBMIT = "record.submit"
    RECORD_UPDATE = "record.update"

    RETENTION_RUN = "retention.run"
    RETENTION_SET = "retention.set"

    ROLE_CREATE = "role.create"
    ROLE_DELETE = "role.delete"
    ROLE_UPDATE = "role.update"

    SERVICE_ACCOUNT_AUTHENTICATE = "service_account.authenticate"
    SERVICE_ACCOUNT_CREATE = "service_account.create"
    SERVICE_ACCOUNT_ISSUE_TOKEN = "service_account.issue_token"  # noqa: S105
    SERVICE_ACCOUNT_REVOKE = "service_account.revoke"
    SERVICE_ACCOUNT_REVOKE_TOKEN = "service_account.revoke_token"  # noqa: S105

    SESSION_AUTHENTICATE = "session.authenticate"
    SESSION_CHALLENGE = "session.challenge"
    SESSION_REAUTHENTICATE = "session.reauthenticate"
    SESSION_REFRESH = "session.refresh"
    SESSION_REFUSE_PROOF = "session.refuse_proof"
    SESSION_RENAME = "session.rename"
    SESSION_REVOKE = "session.revoke"
    SESSION_SIGN_IN = "session.sign_in"
    SESSION_SIGN_OUT = "session.sign_out"

    SITE_CREATE = "site.create"
    SITE_DELETE = "site.delete"
    SITE_IMPORT = "site.import"
    SITE_UPDATE = "site.update"
    TRUSTED_DOCUMENT_REFUSE = "trusted_document.refuse"
    TRUSTED_DOCUMENT_REGISTER = "trusted_document.register"
    TRUSTED_DOCUMENT_REMOVE = "trusted_document.remove"

    USER_CHANGE_PASSWORD = "user.change_password"  # noqa: S105
    USER_CREATE = "user.create"
    USER_ERASE = "user.erase"
    USER_REINSTATE = "user.reinstate"
    USER_REMOVE = "user.remove"
    USER_REQUEST_PASSWORD_RESET = "user.request_password_reset"  # noqa: S105
    USER_RESET_PASSWORD = "user.reset_password"  # noqa: S105
    USER_START_PASSWORD_RESET = "user.start_password_reset"  # noqa: S105
    USER_SUSPEND = "user.suspend"
