"""Every rule that an installation is held against, with the controls of public standards that it is about.

Numbers are those of OWASP ASVS 5.0.0 and of the CIS PostgreSQL 16 Benchmark. Where we ask for the opposite of what CIS
recommends, since the log would hold what is to be nowhere, `docs/security/hardening.md` says so.
"""

from collections.abc import Mapping
from typing import Final

from fieldward.check.database_rule import OF_ROLES, OF_SERVERS
from fieldward.check.finding import Rule, Severity

_REFUSED, _HIGH, _MEDIUM, _LOW = Severity

OF_SETTINGS: Final = (
    Rule(
        "development-mode",
        _HIGH,
        "The mode is development, in which nothing unsafe is refused.",
        "Set FIELDWARD_MODE=production.",
        asvs=("13.4.2",),
    ),
    Rule(
        "plain-http",
        _REFUSED,
        "The service would be spoken to without TLS.",
        "Set FIELDWARD_TLS_CERTIFICATE and FIELDWARD_TLS_KEY, or name the proxy that speaks TLS in"
        " FIELDWARD_TRUSTED_PROXIES.",
        asvs=("12.2.1", "4.4.1"),
    ),
    Rule(
        "anybody-is-a-proxy",
        _REFUSED,
        "So many addresses are named as proxies that clients may be among them, and say from where they come.",
        "Name the addresses of the proxies alone in FIELDWARD_TRUSTED_PROXIES.",
        asvs=("4.1.3", "15.3.4"),
    ),
    Rule(
        "public-url",
        _REFUSED,
        "It is not said under which https address people reach the service: cookies, passkeys and links hang on it.",
        "Set FIELDWARD_PUBLIC_URL to it: https://fieldward.example.",
        asvs=("12.2.1", "3.5.1"),
    ),
    Rule(
        "any-origin",
        _REFUSED,
        "Pages of anybody, or pages that came without TLS, could ask by a token that they got hold of.",
        "Name the origins of your own pages in FIELDWARD_ALLOWED_ORIGINS, by https.",
        asvs=("3.4.2", "12.2.1"),
    ),
    Rule(
        "weak-secret",
        _REFUSED,
        "A secret is short, well known or easy to guess.",
        "Take a random one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'.",
        asvs=("11.5.1", "13.2.3"),
        cis=("5.6",),
    ),
    Rule(
        "weak-password-hashes",
        _REFUSED,
        "Passwords would be hashed as tests do.",
        "Set FIELDWARD_PASSWORD_COST=standard, or leave it out.",
        asvs=("11.4.2",),
    ),
    Rule(
        "unverified-database",
        _REFUSED,
        "A database on another machine would be spoken to without knowing that it is the one.",
        "End its URL by ?sslmode=verify-full, with the authority's certificate in PGSSLROOTCERT, in"
        " ~/.postgresql/root.crt, or behind &sslrootcert= in the URL.",
        asvs=("12.3.1", "12.3.2"),
        cis=("5.8", "6.8"),
    ),
    Rule(
        "owner-served",
        _REFUSED,
        "The service would hold the credentials of the tables' owner, who can take every wall down.",
        "Leave it out where the service runs; give it to `fieldward migrate` alone.",
        asvs=("13.2.2", "13.3.2"),
        cis=("4.3",),
    ),
    Rule(
        "plain-provider",
        _REFUSED,
        "The keys of all data, or credentials, would go over the network in the clear.",
        "Give an https URL.",
        asvs=("12.3.1", "12.3.3"),
    ),
    Rule(
        "log-for-people",
        _REFUSED,
        "The log would be written for people: no program can read it safely.",
        "Set FIELDWARD_LOG_FORMAT=json, or leave it out.",
        asvs=("16.2.4", "16.4.1"),
    ),
    Rule(
        "tls-keys-logged",
        _REFUSED,
        "The keys of every TLS connection would be written to a file.",
        "Unset SSLKEYLOGFILE.",
        asvs=("12.3.1", "13.4.2"),
    ),
    Rule(
        "limits-measured",
        _HIGH,
        "Operations that ask for too much are run, and only noted.",
        "Set FIELDWARD_LIMITS=enforce, or leave it out, once the log says that nobody is hit.",
        asvs=("4.3.1", "15.2.2"),
    ),
    Rule(
        "no-bound",
        _MEDIUM,
        "One caller may ask for anything.",
        "Leave it out, or set it above what the largest caller needs.",
        asvs=("2.4.1", "15.2.2"),
    ),
    Rule(
        "no-alarm",
        _HIGH,
        "Nobody is told of incidents.",
        "Set FIELDWARD_ALARM_EMAIL_TO or FIELDWARD_ALARM_WEBHOOK_URL, and try it: fieldward alarms test.",
        asvs=("16.4.3",),
    ),
    Rule(
        "no-mail",
        _MEDIUM,
        "No letter leaves: nobody is invited, resets a password, or hears of a change to how they sign in.",
        "Set FIELDWARD_SMTP_HOST and FIELDWARD_SMTP_FROM.",
        asvs=("6.3.7", "6.4.3"),
    ),
    Rule(
        "no-metrics",
        _LOW,
        "Nobody outside can see that the service stands still.",
        "Set FIELDWARD_METRICS_TOKEN, and alert as docs/operations.md says.",
        asvs=("16.3.4",),
    ),
    Rule(
        "heads-stay-here",
        _MEDIUM,
        "The heads of the audit trail are laid down nowhere outside: whoever has this machine can write it anew.",
        "Set FIELDWARD_AUDIT_PUBLISH_URL to a place of somebody else's, and best FIELDWARD_AUDIT_WITNESSES.",
        asvs=("16.4.2", "16.4.3"),
    ),
    Rule(
        "audit-name",
        _LOW,
        "The trail has the name that every installation has by default.",
        "Set FIELDWARD_AUDIT_NAME to one of your own before the first head is published.",
        asvs=("16.2.1",),
    ),
    Rule(
        "key-beside-data",
        _MEDIUM,
        "The key of all keys lies in a file of this machine, beside what it opens.",
        "Keep it in AWS KMS or Vault (FIELDWARD_KEY_PROVIDER), or accept it for one machine whose disk is encrypted.",
        asvs=("13.3.1", "13.3.3"),
    ),
    Rule(
        "keystore-beside-data",
        _LOW,
        "The keystore lies on the server of the data: one backup holds both, and a destroyed key lives on in it.",
        "Put the keystore on a server of its own, with backups of its own.",
        asvs=("13.3.2",),
        cis=("8.2",),
    ),
    Rule(
        "no-backup",
        _HIGH,
        "Nothing of the embedded database is copied: with its disk all of it is lost.",
        "Set FIELDWARD_BACKUP_DIRECTORY to a directory on another disk, and make a backup every day: docs/backup.md.",
        cis=("7.3", "7.4"),
    ),
)

OF_FILES: Final = (
    Rule(
        "open-file",
        _REFUSED,
        "Others than the service's user may read or change a secret file, or what leads to it.",
        "Close it: chmod 700 the directory, chmod 600 the file.",
        asvs=("13.3.2",),
        cis=("2.1",),
    ),
    Rule(
        "demo-people",
        _REFUSED,
        "The data directory is a demo's: the passwords of its people lie in a file, and are printed.",
        "Take an empty directory and an empty database.",
        asvs=("13.2.3", "15.2.3"),
    ),
    Rule(
        "certificate-unusable",
        _REFUSED,
        "The certificate can't be served with.",
        "Give a certificate that is good today and its own key, in PEM.",
        asvs=("12.1.1", "12.2.1"),
    ),
    Rule(
        "certificate-runs-out",
        _HIGH,
        "The certificate is about to run out.",
        "Renew it in place: it is taken within ten seconds, without a restart.",
        asvs=("12.2.2",),
    ),
    Rule(
        "certificate-of-another",
        _HIGH,
        "The certificate is not of the name under which people come.",
        "Get one for the host of FIELDWARD_PUBLIC_URL.",
        asvs=("12.2.2",),
    ),
    Rule(
        "certificate-weak",
        _MEDIUM,
        "The certificate's key or signature is weaker than 128 bits.",
        "Get one with an ECDSA key on P-256, or RSA of 3072 bits.",
        asvs=("11.2.3", "12.1.2"),
    ),
    Rule(
        "certificate-self-signed",
        _MEDIUM,
        "The certificate is signed by itself: clients can't tell it from anybody's.",
        "Get one from an authority that your clients trust.",
        asvs=("12.2.2",),
    ),
    Rule(
        "runs-as-root",
        _MEDIUM,
        "The service runs as root.",
        "Run it as a user of its own that owns the data directory and nothing else.",
        asvs=("13.2.2",),
        cis=("4.1",),
    ),
    Rule(
        "swap",
        _LOW,
        "Memory with keys and opened values may be written to a disk.",
        "Switch swap off, or encrypt it with a key that is drawn at each start.",
        asvs=("11.7.1", "11.7.2"),
    ),
)

OF_SURROUNDINGS: Final = (
    Rule(
        "database-away",
        _HIGH,
        "A database does not answer, or is not of this version: what is in it could not be looked at.",
        "Bring it back, run fieldward migrate, and check again.",
        asvs=("16.5.2",),
    ),
    Rule(
        "clock",
        _HIGH,
        "The clocks of the service and of the database differ.",
        "Have both machines keep their time by NTP (chrony).",
        asvs=("16.2.2",),
    ),
    Rule(
        "key-provider-away",
        _HIGH,
        "The key provider does not unwrap a key: a server that starts now can serve nothing.",
        "See whether it is up, whether the service's token is good, and whether the key is the keystore's.",
        asvs=("13.3.1", "16.5.2"),
    ),
)

RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule for rules in (OF_SETTINGS, OF_FILES, OF_ROLES, OF_SERVERS, OF_SURROUNDINGS) for rule in rules
}
