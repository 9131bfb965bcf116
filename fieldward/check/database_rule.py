"""The rules about databases: as whom the service is let in and over what, and how a PostgreSQL is set up.

Numbers are those of OWASP ASVS 5.0.0 and of the CIS PostgreSQL 16 Benchmark, as in `fieldward/check/rule.py`.
"""

from typing import Final

from fieldward.check.finding import Rule, Severity

_REFUSED, _HIGH, _MEDIUM, _LOW = Severity

OF_ROLES: Final = (
    Rule(
        "role-superuser",
        _REFUSED,
        "The service signs in to the database as a superuser: no wall in it stands.",
        "Sign in as fieldward_app (docs/operations.md); alter role … nosuperuser.",
        asvs=("13.2.2",),
        cis=("4.3", "5.11"),
    ),
    Rule(
        "role-bypasses-walls",
        _REFUSED,
        "The service's role goes around row-level security, or may switch its triggers off.",
        "alter role … nobypassrls; revoke what lets it set session_replication_role.",
        asvs=("13.2.2",),
        cis=("4.3", "4.7"),
    ),
    Rule(
        "role-owns",
        _REFUSED,
        "The service's role owns tables, schema or database, or is a member of who does, and can take the walls down.",
        "Make fieldward_owner their owner, and revoke the membership.",
        asvs=("13.2.2",),
        cis=("4.3", "4.7"),
    ),
    Rule(
        "role-makes-others",
        _REFUSED,
        "The service's role, or one that it is a member of, may make roles or databases, or replicate all there is.",
        "alter role … nocreaterole nocreatedb noreplication, and revoke such roles.",
        asvs=("13.2.2",),
        cis=("4.3", "7.1"),
    ),
    Rule(
        "role-reaches-out",
        _REFUSED,
        "The service's role has one of PostgreSQL's own that read or write everything, or files, or run programs.",
        "Revoke it.",
        asvs=("13.2.2",),
        cis=("4.3", "4.9"),
    ),
    Rule(
        "connection-plain",
        _REFUSED,
        "The connection to the database is not encrypted.",
        "Set ssl=on on the server, hostssl lines alone in pg_hba.conf, and sslmode=verify-full in the URL.",
        asvs=("12.3.1",),
        cis=("5.8", "6.8"),
    ),
    Rule(
        "connection-trusted",
        _REFUSED,
        "The database lets the service's role in without a proof.",
        "Replace trust by scram-sha-256 in pg_hba.conf.",
        asvs=("13.2.1",),
        cis=("5.3", "5.4"),
    ),
    Rule(
        "connection-md5",
        _HIGH,
        "The database compares passwords by MD5.",
        "Set password_encryption=scram-sha-256, give the role its password anew, and say scram-sha-256 in pg_hba.conf.",
        asvs=("11.4.1", "13.2.1"),
        cis=("5.4", "5.12"),
    ),
)

OF_SERVERS: Final = (
    Rule(
        "password-encryption",
        _HIGH,
        "New passwords of roles would be kept as MD5.",
        "Set password_encryption=scram-sha-256.",
        asvs=("11.4.1",),
        cis=("5.12",),
    ),
    Rule(
        "statements-logged",
        _HIGH,
        "PostgreSQL's log holds the values of statements.",
        "Set log_statement to none or ddl, log_parameter_max_length=0 where statements are logged by their time,"
        " and debug_print_* off.",
        asvs=("16.2.5",),
        cis=("3.1.16", "3.1.17", "3.1.18", "3.1.25"),
    ),
    Rule(
        "errors-logged",
        _MEDIUM,
        "PostgreSQL's log quotes values in the details of errors.",
        "alter role fieldward_app set log_min_messages = 'log'; or set log_error_verbosity=terse,"
        " log_min_error_statement=panic and log_parameter_max_length_on_error=0.",
        asvs=("16.2.5",),
        cis=("3.1.15", "3.1.22"),
    ),
    Rule(
        "connections-unlogged",
        _LOW,
        "PostgreSQL does not note who comes and goes.",
        "Set log_connections and log_disconnections on.",
        asvs=("16.3.1",),
        cis=("3.1.20", "3.1.21"),
    ),
    Rule(
        "not-durable",
        _HIGH,
        "What was acknowledged may be lost when the machine stops.",
        "Set fsync, full_page_writes and synchronous_commit on.",
        asvs=("16.5.3",),
        cis=("6.2",),
    ),
    Rule(
        "no-checksums",
        _MEDIUM,
        "Pages that a disk has changed are not noticed.",
        "Stop the server, run pg_checksums --enable.",
        cis=("8.3",),
    ),
    Rule(
        "row-security-off",
        _HIGH,
        "Row-level security is switched off for the service's role.",
        "alter role … reset row_security; it is on by default.",
        asvs=("8.2.2",),
        cis=("4.7",),
    ),
    Rule(
        "walls-down",
        _HIGH,
        "Triggers of the trail, or row-level security of a table, are missing.",
        "Run fieldward audit verify, and find out who took them down before you migrate again.",
        asvs=("8.2.2", "16.4.2"),
        cis=("4.7",),
    ),
    Rule(
        "extension-reaches-out",
        _HIGH,
        "An extension of the database reads files, runs programs or goes to other servers.",
        "drop extension …, or put what needs it into a database of its own.",
        asvs=("13.2.4", "15.2.3"),
        cis=("4.5", "6.6"),
    ),
    Rule(
        "extension-unneeded",
        _LOW,
        "There is an extension that Fieldward does not use.",
        "drop extension …, if nothing else of yours uses it.",
        asvs=("15.2.3",),
        cis=("4.5",),
    ),
    Rule(
        "public-makes",
        _HIGH,
        "Every role of the server may make objects in the schema public, in front of ours.",
        "revoke create on schema public from public;",
        asvs=("13.2.2",),
        cis=("4.10",),
    ),
    Rule(
        "public-connects",
        _MEDIUM,
        "Every role of the server may come into the database.",
        "revoke all on database … from public; grant connect on database … to fieldward_service;",
        asvs=("13.2.2",),
        cis=("4.6", "5.10"),
    ),
    Rule(
        "old-tls",
        _MEDIUM,
        "PostgreSQL speaks TLS before 1.2.",
        "Set ssl_min_protocol_version=TLSv1.2.",
        asvs=("12.1.1",),
        cis=("6.8", "6.10"),
    ),
    Rule(
        "no-standby",
        _MEDIUM,
        "No commit waits for a second machine: with this one, what was acknowledged last is lost.",
        "Set up a synchronous standby (synchronous_standby_names), and synchronous_commit=on.",
        cis=("7.5",),
    ),
    Rule(
        "no-archive",
        _MEDIUM,
        "The database is not archived: it can be brought back to the last base backup at best.",
        "Set archive_mode=on with an archive_command, or have Barman stream by a slot; and make base backups.",
        cis=("7.3", "7.4"),
    ),
    Rule(
        "old-server",
        _HIGH,
        "This version of PostgreSQL gets no more corrections.",
        "Upgrade it.",
        asvs=("15.2.1",),
        cis=("1.5",),
    ),
)
