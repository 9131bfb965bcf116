"""The enums of the contract: the stored ones, under their own names."""

import strawberry

from auth.classification import Classification
from auth.permission import Permission
from auth.role import OrganizationRole, ProjectRole
from models.access_review import AccessDecision, ReviewedKind
from models.aggregation import Bucket
from models.audit_entry import EntryKind, Outcome
from models.authenticator import AuthenticatorKind
from models.base import Storage
from models.change import ChangeOperation
from models.custom_role import RoleLevel
from models.data_export import ExportFormat, ExportStatus
from models.data_import import ImportKind, ImportStatus, RowFate
from models.data_inventory import Instead, Place
from models.data_kind import DataKind
from models.device import DevicePlatform, DeviceStatus
from models.encryption.envelope import KeyPurpose, OwnerKind
from models.erasure_request import ErasureKind, ErasureStatus
from models.incident import IncidentSeverity, IncidentStatus
from models.invitation import InvitationStatus
from models.legal_hold import HoldOn
from models.membership import MembershipStatus
from models.organization import DocumentPolicy, OrganizationStatus
from models.project import ProjectStatus
from models.record import Medium, RecordStatus, SignatureMeaning
from models.record_field import RecordField
from models.retention import RunStatus
from models.session import Factor
from resolvers.csv_mapping import Delimiter, Encoding, ImportField
from resolvers.csv_moment import DateOrder
from resolvers.session import Delivery

for _enum, _name in (
    (OrganizationRole, "OrganizationRole"),
    (ProjectRole, "ProjectRole"),
    (RoleLevel, "RoleLevel"),
    (OrganizationStatus, "OrganizationStatus"),
    (DocumentPolicy, "TrustedDocumentPolicy"),
    (MembershipStatus, "UserStatus"),
    (InvitationStatus, "InvitationStatus"),
    (AccessDecision, "ReviewDecision"),
    (ReviewedKind, "ReviewedKind"),
    (ProjectStatus, "ProjectStatus"),
    (DevicePlatform, "DevicePlatform"),
    (DeviceStatus, "DeviceStatus"),
    (RecordStatus, "RecordStatus"),
    (SignatureMeaning, "SignatureMeaning"),
    (Medium, "Medium"),
    (EntryKind, "AuditEntryKind"),
    (Outcome, "AuditOutcome"),
    (Bucket, "TimeBucket"),
    (ChangeOperation, "ChangeOperation"),
    (Factor, "SignInFactor"),
    (Delivery, "SignInDelivery"),
    (IncidentSeverity, "IncidentSeverity"),
    (IncidentStatus, "IncidentStatus"),
    (AuthenticatorKind, "AuthenticatorKind"),
    (ImportKind, "ImportKind"),
    (ImportStatus, "ImportStatus"),
    (RowFate, "ImportRowFate"),
    (Delimiter, "ImportDelimiter"),
    (Encoding, "ImportEncoding"),
    (ImportField, "ImportField"),
    (DateOrder, "ImportDateOrder"),
    (ExportFormat, "ExportFormat"),
    (ExportStatus, "ExportStatus"),
    (ErasureKind, "ErasureKind"),
    (ErasureStatus, "ErasureStatus"),
    (Permission, "Permission"),
    (Classification, "Classification"),
    (Storage, "DataStorage"),
    (Place, "DataPlace"),
    (Instead, "DataOtherwise"),
    (OwnerKind, "DataKeyOwner"),
    (KeyPurpose, "DataKeyPurpose"),
    (DataKind, "DataKind"),
    (RunStatus, "RetentionRunStatus"),
    (HoldOn, "LegalHoldOn"),
    (RecordField, "RecordField"),
):
    strawberry.enum(_enum, name=_name, description=(_enum.__doc__ or "").strip())
