"""The measures that a vendor of such a service promises its customers: what makes each true, what proves it, and what
is left to whoever operates it.

One declaration for each. The page `docs/security/measures.md` is printed from it, tests hold what it names to the code,
and `fieldward evidence` collects the figures of the running system by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Measure:
    """A promise, and how it is kept.

    key: what figures and links call it. promise: as a customer is told. made_true: by what, with the places in the code
        as pages name them. proved_by: tests, drills and benchmarks. operator: what nobody but who operates the service
        can do for it. figures: what `fieldward evidence` counts for it, by name.
    """

    key: str
    title: str
    promise: str
    made_true: str
    proved_by: Sequence[str]
    operator: str
    figures: Sequence[str] = ()


MEASURES: Final[Sequence[Measure]] = (
    Measure(
        "encryption-in-transit",
        "Encryption in transit",
        "What travels between people, programs and the service is encrypted, and nothing is answered otherwise.",
        "In production the service speaks TLS 1.2 or newer itself (`fieldward/web/tls.py: Certificate`), or takes"
        " requests from a named proxy that says they came by https; it does not start without either"
        " (`fieldward/check/deployment.py: refused_at_start`). Browsers are told to come by https alone"
        " (`fieldward/web/header.py`). Databases on other machines are reached by verified TLS, or not at all.",
        ("tests/unit/test_tls.py", "tests/api/test_security_header.py", "tests/unit/test_check_setting.py"),
        "Set `FIELDWARD_MODE` to production, with a certificate or a proxy of yours, and renew certificates.",
        ("database",),
    ),
    Measure(
        "encryption-at-rest",
        "Encryption at rest",
        "What is confidential or personal is stored as ciphertext, in the database, in its history and in every"
        " backup.",
        "Columns classified CONFIDENTIAL or PERSONAL are sealed before they become parameters of a statement"
        " (`models/encryption/envelope.py: seal`), under a data key for each owner and purpose"
        " (`models/encryption/keyring.py: Keyring`) that a key-encryption key wraps which is not in the database"
        " (`models/encryption/file_provider.py: FileKeyProvider`). A column of that class that is not encrypted stops"
        " the start (`models/inventory.py: entity_of`). Which columns these are is printed: [data"
        " inventory](../data-inventory.md).",
        (
            "tests/acceptance/test_canary.py",
            "tests/unit/test_envelope.py",
            "tests/model/test_tampering.py",
            "tests/drill/test_rotation.py",
        ),
        "Keep the key-encryption key, or the account of the key provider, apart from the database and its backups."
        " Encrypt the disks: plain columns, such as measured values, are readable on them.",
        ("columns", "keys"),
    ),
    Measure(
        "pseudonymization",
        "Pseudonymization",
        "Who may see data and not who collected them sees a pseudonym, equal for one person within one organization.",
        "A pseudonym is cut from a fingerprint under a key of the name's own (`auth/masking.py: pseudonym`,"
        " `resolvers/collector.py: collector_columns`), and never stands beside an id of the person. It outlives the"
        " key"
        " of an erased name and leads nowhere then.",
        ("tests/api/test_field_guard.py", "tests/sweep/test_output.py", "tests/sweep/test_non_interference.py"),
        "Give `record:read_personal` to few: it is what shows names.",
        ("roles", "columns"),
    ),
    Measure(
        "least-privilege",
        "Least privilege, in the organization and in projects",
        "Everybody gets the rights that their work takes, in the organization as a whole or in single projects, and"
        " nobody gives more than they have.",
        "Roles are sets of permissions (`auth/role.py`), asked for in the scope of each row"
        " (`schema/completion.py: Batch.readable`, `auth/policy.py: can`), with roles of an organization's own"
        " (`resolvers/custom_role.py: create_role`), grants that end by themselves (`auth/access.py: access_of`) and"
        " reviews of who has what (`resolvers/access_review.py`). No field is without a guard"
        " (`schema/sweep.py: sweep`). Printed: [access](../access.md).",
        ("tests/sweep/test_output.py", "tests/sweep/test_writing.py", "tests/api/test_escalation.py"),
        "Decide who gets which role, and open reviews of access.",
        ("roles", "project_roles", "programs", "reviews"),
    ),
    Measure(
        "tenant-isolation",
        "Separation of customers",
        "No customer sees, changes or finds out anything of another.",
        "Every look-up carries the organization (`models/visibility.py: visible`); under it stand forced row-level"
        " security and keys that begin with the organization (`models/migrations/sql/0002_wards.sql`).",
        ("tests/api/test_isolation.py", "tests/model/test_walls.py", "tests/sweep/test_non_interference.py"),
        "Let the service sign in as `fieldward_app`, which owns nothing.",
        ("database",),
    ),
    Measure(
        "termination",
        "Removal on termination",
        "Who leaves has no access from the next request on, on every device, and so do the programs that they made.",
        "Each request and each event asks the session and all that it stands on"
        " (`resolvers/session.py: authenticate`), each change once more in its own transaction"
        " (`resolvers/standing.py: standing_viewer`). `resolvers/account.py: set_member_status` suspends;"
        " programs can do what their maker can at that moment (`auth/access.py: Access.cut_to`).",
        ("tests/acceptance/test_revocation.py", "tests/api/test_session.py", "tests/api/test_service_account.py"),
        "Suspend who leaves, on the day, and hand their programs over.",
        ("people", "programs"),
    ),
    Measure(
        "passwords",
        "Password procedures",
        "Passwords are readable to nobody, hard to guess, and guessing is slowed down; a second factor can be"
        " demanded.",
        "Argon2id (`auth/password.py: Passwords`), nothing common, breached or known of the person"
        " (`auth/guessing.py: guess`), links that work once for who lost theirs"
        " (`resolvers/password_reset.py: request_reset`), waits that grow with failures"
        " (`resolvers/throttle.py: guessing`), TOTP and passkeys (`resolvers/second_factor.py: Proof`).",
        (
            "tests/unit/test_password.py",
            "tests/api/test_throttle.py",
            "tests/api/test_second_factor.py",
            "tests/acceptance/test_canary.py",
        ),
        "Demand a second factor (`setSignInPolicy`), and run a mail server that reaches people.",
        ("people", "sign_in_policy"),
    ),
    Measure(
        "devices",
        "Mapped and blockable devices",
        "Every device belongs to a named person, proves who it is, and can be blocked at once.",
        "A device is registered to a person and enrolled with a key of its own"
        " (`resolvers/device_enrolment.py: enrol_device`, `auth/device_proof.py: verify_device_proof`), handed over"
        " (`resolvers/device.py: hand_over_device`) and blocked (`resolvers/device.py: block_device`).",
        (
            "tests/api/test_device_proof.py",
            "tests/api/test_device_hand_over.py",
            "tests/acceptance/test_device_flow.py",
        ),
        "Block what is lost, and retire what is worn out.",
        ("devices",),
    ),
    Measure(
        "transaction-log",
        "Transaction log",
        "What is done, refused or failed is written down, and so is who read personal values.",
        "No audited row changes without an entry of its transaction (`resolvers/change.py: commit_change`, triggers"
        " that"
        " are always enabled); refusals and failures are entries (`resolvers/change.py: record_attempt`); reads of"
        " guarded values are written before the answer leaves (`resolvers/read_log.py: ReadLog.write`). Entries are"
        " sealed in signed trees (`resolvers/sealing.py: seal_organization`).",
        (
            "tests/api/test_mutation_audit.py",
            "tests/drill/test_crash.py",
            "tests/model/test_trail_tampering.py",
        ),
        "Have the heads published elsewhere (`FIELDWARD_AUDIT_PUBLISH_URL`), and verify the trail now and then.",
        ("trail", "heads", "verification"),
    ),
    Measure(
        "incidents",
        "Incidents and alarms",
        "What looks like an attack or a failure becomes an incident, and somebody is told of it.",
        "Rules over the sealed trail (`resolvers/incident_rule.py: RULES`, `resolvers/incident_judging.py:"
        " judge_step`),"
        " alarms by mail and webhook that are not lost (`resolvers/alarm.py: deliver_one`).",
        ("tests/resolver/test_incident_judging.py", "tests/resolver/test_alarm.py", "tests/api/test_incident.py"),
        "Name who is told (`FIELDWARD_ALARM_EMAIL_TO`, `FIELDWARD_ALARM_WEBHOOK_URL`), and have them act.",
        ("incidents", "alarms"),
    ),
    Measure(
        "change-tracking",
        "Change tracking",
        "Every original value and every change can be traced: by whom, when and how.",
        "Triggers write each changed column, before and after, beside its entry (`fieldward_audit` in"
        " `models/migrations/sql/0002_wards.sql`); `schema/record_history.py` and `schema/record_past.py` answer what a"
        " record was, and who changed what. Approvals are signed (`resolvers/record_review.py: approve_record`).",
        ("tests/api/test_mutation_audit.py", "tests/model/test_trail_verification.py", "tests/api/test_signature.py"),
        "Set no retention of the trail that is shorter than what you owe.",
        ("trail", "trail_retention", "verification"),
    ),
    Measure(
        "accountability",
        "Accountability",
        "Who did what can be proved to a third party, without trusting whoever keeps the data.",
        "Entries are leaves of RFC 9162 trees whose heads are signed, published and cosigned"
        " (`models/ledger/checkpoint.py: HeadSigner`, `resolvers/witnessing.py: ask_witness`); a bundle of the trail is"
        " verified without us (`fieldward/verifier.py`). Decisions are explained"
        " (`resolvers/explain.py: explain_access`).",
        ("tests/unit/test_verifier.py", "tests/model/test_trail_tampering.py", "tests/api/test_proof.py"),
        "Keep heads, and the verifier key, where the service's administrators can't change them.",
        ("heads", "cosignatures", "verification"),
    ),
    Measure(
        "quality",
        "Quality of data",
        "A value is what was brought in, checked where it comes in, reviewed by somebody else, and kept as it was"
        " approved.",
        "Inputs are refused with the field and what was expected (`schema/input_value.py: variable_errors`,"
        " `resolvers/checking.py: require_fit`), imports say the fate of each row"
        " (`resolvers/record_import.py: require_may_import`), nobody reviews their own work"
        " (`resolvers/record_review.py: approve_record`), and lost updates are refused by version.",
        ("tests/api/test_bad_input.py", "tests/api/test_data_import.py", "tests/drill/test_malformed.py"),
        "Let others review than those who collect.",
        ("records", "imports"),
    ),
    Measure(
        "portability",
        "Portability",
        "Customers take their data along in standard formats, all of them in one archive, and everybody takes along"
        " what is about themselves.",
        "Exports as CSV, GeoJSON, Parquet and WQX 3 XML (`resolvers/export_job.py: Exporting`), an archive of a whole"
        " organization, out and in again (`resolvers/archive.py`, `resolvers/archive_import.py`), and one of what is a"
        " person's, for that person alone (`exportMyData`, `resolvers/person_archive.py: PersonSource`).",
        (
            "tests/model/test_archive.py",
            "tests/api/test_export.py",
            "tests/api/test_person_archive.py",
            "tests/unit/test_wqx_xml.py",
        ),
        "Nothing: people help themselves.",
        ("exports",),
    ),
    Measure(
        "hardening",
        "Hardened defaults",
        "Production does not start with what is weak: no default passwords, no plain HTTP, no superuser's role.",
        "Settings, files and databases are looked at before anything is served"
        " (`fieldward/check/deployment.py: require_safe_databases`), and `fieldward check --deploy` explains each"
        " finding, with its controls in ASVS 5.0 and the CIS benchmark where these have one"
        " (`fieldward/check/deployment.py: check_deployment`)."
        " Everything that a client can grow is bounded: bodies, texts, depth, cost, time, and how much is worked on at"
        " once (`schema/limits.py: require_affordable`, `fieldward/web/admission.py: Admission`).",
        (
            "tests/unit/test_check_setting.py",
            "tests/model/test_check_database.py",
            "tests/api/test_security_header.py",
            "tests/acceptance/test_overload_probes.py",
            "tests/drill/test_overload.py",
        ),
        "Run `fieldward check --deploy` after each change of the installation, and mend what it names.",
        ("database",),
    ),
    Measure(
        "minimization",
        "Data minimization",
        "What a project does not need is neither asked nor kept.",
        "Fields of records and measurements are switched off for each project; a value that is given all the same is"
        " refused, by whatever way it comes (`resolvers/switched_off.py: require_switched_on`), and what was kept"
        " before"
        " is emptied where that is chosen (`resolvers/field_emptying.py`).",
        ("tests/api/test_fields_off.py",),
        "Decide with the customer which fields a project does without.",
        ("projects",),
    ),
    Measure(
        "retention",
        "Retention by type of data",
        "Each type of data is kept for as long as was decided, and deleted then, unless a legal hold keeps it.",
        "Periods are set for each type and organization (`resolvers/retention.py: set_retention`), looked ahead at"
        " without deleting (`resolvers/retention.py: preview`), and carried out once a day by audited changes, with a"
        " report (`resolvers/retention_run.py: RetentionRuns`). Holds are asked about in the same transaction"
        " (`models/legal_hold.py: lock_holds`).",
        ("tests/api/test_retention.py", "tests/model/test_retention_run.py", "tests/model/test_trail_retention.py"),
        "Set the periods that the contract or the law names; until then everything is kept.",
        ("retention", "retention_runs", "legal_holds", "trail_retention"),
    ),
    Measure(
        "erasure",
        "Erasure on request",
        "Who asks to be forgotten is erased within 30 days: what is theirs can be opened nowhere any more but with a"
        " backup of the keystore, and with that for as long as it is kept, 30 days more at the most. The certificate"
        " says until when.",
        "A request is confirmed, can be taken back for a while, and is carried out by itself"
        " (`resolvers/erasure_execution.py: ErasureRunning`) by destroying the keys of what is theirs"
        " (`models/encryption/destruction.py: DestructionLog`); it is done again after a restore, before the first"
        " request (`fieldward/web/gate.py: Gate`). What is due is an alarm (`resolvers/erasure_alarm.py:"
        " note_overdue`),"
        " and what was done a signed certificate (`resolvers/erasure_certificate.py: certificate_of`).",
        (
            "tests/api/test_erasure_request.py",
            "tests/api/test_erasure_reach.py",
            "tests/acceptance/test_erasure.py",
            "tests/unit/test_certificate_verifier.py",
        ),
        "Keep no backup of the keystore longer than 30 days, and answer alarms about requests that are due.",
        ("erasures",),
    ),
    Measure(
        "failover",
        "Standby and failover",
        "The loss of a database machine loses nothing that was acknowledged, and the service is back in short.",
        "Three machines under Patroni, replicating synchronously (`deploy/patroni`); the service finds the one that"
        " takes writes (`models/cluster.py: Cluster`), tries again what was certainly not committed"
        " (`resolvers/change.py: commit_change`), and says UNKNOWN_OUTCOME where nobody knows, which is resolved under"
        " the same key (`resolvers/idempotency.py: Once`).",
        ("tests/drill/test_failover.py", "tests/acceptance/test_failover.py", "tests/drill/test_crash.py"),
        "Run three machines, watch them, and go through `python -m drills failover` before you rely on it.",
        ("database", "standbys"),
    ),
    Measure(
        "restore",
        "Restore",
        "After a loss of everything, the service is back within 30 minutes, as of a moment that is chosen.",
        "Base backups and archived WAL (`fieldward/backup/making.py: create_backup`), restored to a moment and checked:"
        " rows, trail and keys (`fieldward/backup/checking.py: check_restored`). A backup that is too old is an alarm"
        " (`resolvers/backup_watch.py`).",
        ("tests/acceptance/test_backup.py", "tests/drill/test_restore.py", "tests/unit/test_backup_archive.py"),
        "Have backups made every day and taken elsewhere, keep the key-encryption key apart from them, and restore one"
        " now and then.",
        ("database", "backups"),
    ),
    Measure(
        "regular-testing",
        "Regular testing",
        "That the measures hold is tested by every change, and at full size regularly.",
        "Every field, argument and mutation is asked for by every kind of principal (`schema/sweep.py: sweep` refuses"
        " what is unguarded), whatever the schema gets; crashes, rotations, floods, restores and malformed operations"
        " are"
        " drilled (`drills/cli.py: all_drills`), with their last figures in `drills/README.md`.",
        (
            "tests/sweep/test_output.py",
            "tests/sweep/test_narrowing.py",
            "tests/sweep/test_writing.py",
            "tests/sweep/test_non_interference.py",
            "tests/drill/test_malformed.py",
        ),
        "Run `make drill` on machines like those that serve, and verify trail and keys of the running system by"
        " schedule.",
        ("verification",),
    ),
)
