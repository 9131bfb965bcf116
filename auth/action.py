"""What can be done and is written to the audit trail, as `noun.verb`. Names are never reused for something else."""

from enum import StrEnum


class Action(StrEnum):
    """Every act, of a principal or of the service itself, that leaves an entry."""

    ACCESS_RUN_AS = "access.run_as"

    AUDIT_EXPIRE = "audit.expire"
    AUDIT_EXPORT = "audit.export"
    AUDIT_READ = "audit.read"
    AUDIT_RESTART = "audit.restart"
    AUDIT_SEAL = "audit.seal"
    AUDIT_SET_RETENTION = "audit.set_retention"
    AUDIT_VERIFY = "audit.verify"

    DEVICE_BLOCK = "device.block"
    DEVICE_REGISTER = "device.register"
    DEVICE_UNBLOCK = "device.unblock"

    FIELD_READ = "field.read"

    INCIDENT_ACKNOWLEDGE = "incident.acknowledge"
    INCIDENT_CLOSE = "incident.close"
    INCIDENT_OPEN = "incident.open"
    INCIDENT_RECUR = "incident.recur"

    KEY_DESTROY = "key.destroy"
    KEY_PRUNE = "key.prune"
    KEY_RESEAL = "key.reseal"
    KEY_REWRAP = "key.rewrap"
    KEY_ROTATE = "key.rotate"

    MEMBERSHIP_ASSIGN = "membership.assign_role"
    MEMBERSHIP_REMOVE = "membership.remove_role"

    ORGANIZATION_CREATE = "organization.create"
    ORGANIZATION_ERASE = "organization.erase"

    PROJECT_ARCHIVE = "project.archive"
    PROJECT_CREATE = "project.create"
    PROJECT_REWRITE_LOCATIONS = "project.rewrite_locations"
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

    ROLE_CREATE = "role.create"
    ROLE_DELETE = "role.delete"
    ROLE_UPDATE = "role.update"

    SERVICE_ACCOUNT_AUTHENTICATE = "service_account.authenticate"
    SERVICE_ACCOUNT_CREATE = "service_account.create"
    SERVICE_ACCOUNT_REVOKE = "service_account.revoke"

    SESSION_AUTHENTICATE = "session.authenticate"
    SESSION_REFRESH = "session.refresh"
    SESSION_REFUSE_PROOF = "session.refuse_proof"
    SESSION_SIGN_IN = "session.sign_in"
    SESSION_SIGN_OUT = "session.sign_out"

    USER_CREATE = "user.create"
    USER_ERASE = "user.erase"
    USER_SUSPEND = "user.suspend"
    USER_REINSTATE = "user.reinstate"
