"""The enums of the contract: the stored ones, under their own names."""

import strawberry

from auth.permission import Permission
from auth.role import OrganizationRole, ProjectRole
from models.aggregation import Bucket
from models.audit_entry import EntryKind, Outcome
from models.change import ChangeOperation
from models.custom_role import RoleLevel
from models.device import DevicePlatform, DeviceStatus
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.project import ProjectStatus
from models.record import Medium, RecordStatus

for _enum, _name in (
    (OrganizationRole, "OrganizationRole"),
    (ProjectRole, "ProjectRole"),
    (RoleLevel, "RoleLevel"),
    (OrganizationStatus, "OrganizationStatus"),
    (MembershipStatus, "UserStatus"),
    (ProjectStatus, "ProjectStatus"),
    (DevicePlatform, "DevicePlatform"),
    (DeviceStatus, "DeviceStatus"),
    (RecordStatus, "RecordStatus"),
    (Medium, "Medium"),
    (EntryKind, "AuditEntryKind"),
    (Outcome, "AuditOutcome"),
    (Bucket, "TimeBucket"),
    (ChangeOperation, "ChangeOperation"),
    (Permission, "Permission"),
):
    strawberry.enum(_enum, name=_name, description=(_enum.__doc__ or "").strip())
