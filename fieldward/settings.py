"""All configuration, read from the environment here and nowhere else. Every name begins with `FIELDWARD_`."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from auth.password import Parameters
from fieldward.backup.barman import SERVER
from fieldward.web.origin import origins_of
from fieldward.web.proxy import networks_of
from models.ledger.checkpoint import CheckpointError, SignatureType, VerifierKey
from models.outside.http import require_address
from models.outside.place import require_place
from resolvers.alarm_channel import is_sound_url, webhook_key
from resolvers.allowance import Quota
from resolvers.incident_rule import DEFAULTS, Thresholds
from resolvers.relying_party import relying_party
from resolvers.sending import LOOPBACK


class _OpenTelemetry(BaseSettings):
    """What OpenTelemetry's specification calls these, for whoever sets them for all services of a machine."""

    model_config = SettingsConfigDict(env_prefix="OTEL_", extra="ignore")

    sdk_disabled: bool = False
    exporter_otlp_endpoint: str | None = None
    exporter_otlp_traces_endpoint: str | None = None

    @field_validator("exporter_otlp_endpoint", "exporter_otlp_traces_endpoint")
    @classmethod
    def _require_sound(cls, url: str | None) -> str | None:
        if url and not is_sound_url(url):
            raise PydanticCustomError("insecure", "expected https, or this machine")
        return url or None


class Settings(BaseSettings):
    """What an operator decides. Without a `database_url` the embedded PostgreSQL is used."""

    model_config = SettingsConfigDict(env_prefix="FIELDWARD_", extra="forbid")

    mode: Literal["development", "production"] = Field(
        "development",
        description="What is served: development listens on this machine alone, production refuses what is not safe.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="The port to listen on.")
    tls_certificate: Path | None = Field(
        None, description="The certificate to serve TLS with, PEM, with those between it and its root behind it."
    )
    tls_key: Path | None = Field(None, description="Its private key, PEM, not encrypted and closed to others.")
    data_directory: Path = Field(Path(".fieldward"), description="Where keys and the embedded database live.")

    backup_directory: Path | None = Field(
        None,
        description="Where the embedded database is archived to, and its backups lie: best on another disk. Without it"
        " nothing is archived. With Barman, where its hook keeps censuses and notes.",
    )
    backup_archive_timeout_s: int = Field(
        60, ge=1, le=3600, description="Seconds that a change waits to be archived, at the most."
    )
    backup_retention_days: float = Field(
        28.0, gt=0, le=30, description="Days after which `backup prune` deletes a backup: it holds keys, too."
    )
    barman_servers: str | None = Field(
        None,
        max_length=2000,
        description="What Barman calls the clusters of a PostgreSQL of your own, separated by commas: `backup` asks it"
        " for them.",
    )
    barman_command: str = Field(
        "barman",
        min_length=1,
        max_length=500,
        description="How Barman is called, as sudo -n -u barman barman.",
    )

    database_url: SecretStr | None = Field(
        None, description="The service's connection: postgres://fieldward_app:…@host:5432/fieldward"
    )
    owner_database_url: SecretStr | None = Field(None, description="The owner's connection, for migrations alone.")
    keystore_url: SecretStr | None = Field(None, description="The service's connection to the keystore.")
    owner_keystore_url: SecretStr | None = Field(None, description="The owner's connection to the keystore.")
    pool_size: int = Field(
        10,
        ge=2,
        le=200,
        description="Connections of a server process for requests: three in five read, the others change.",
    )
    longest_staleness_s: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Seconds after the last primary was seen for which queries that may be stale are answered from a"
        " standby; 0: none are.",
    )
    statement_timeout_s: float = Field(20.0, gt=0, le=600, description="Seconds that one statement may take.")
    operation_timeout_s: float = Field(
        30.0, gt=0, le=600, description="Seconds that one operation may take in all, and each change of a mutation."
    )

    requests_at_once: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Requests that a process works on at a time; whoever comes meanwhile is told to come again.",
    )
    concurrency: int = Field(
        20, ge=0, description="Operations of one person or program that a process works on at a time; 0: any number."
    )
    anonymous_concurrency: int = Field(
        20, ge=0, description="The same of one network, for who is not signed in; 0: any number."
    )

    rate_limit_requests: int = Field(
        1_200,
        ge=0,
        description="Requests to `/graphql` that one person or program may make in a minute, of each process; 0: any.",
    )
    rate_limit_cost: int = Field(
        1_000_000, ge=0, description="What their operations may cost in a minute, of each process; 0: anything."
    )
    anonymous_rate_limit_requests: int = Field(
        600,
        ge=0,
        description="Requests that one network may make in a minute without a sign-in, of each process; 0: any.",
    )
    anonymous_rate_limit_cost: int = Field(
        100_000, ge=0, description="What those operations may cost in a minute, of each process; 0: anything."
    )

    issuer: str | None = Field(
        None,
        max_length=200,
        description="The issuer named in access tokens; else the public URL, or fieldward where there is none.",
    )
    audience: str = Field("fieldward-api", max_length=200, description="The audience named in access tokens.")
    session_lifetime_h: float = Field(12.0, gt=0, le=24, description="Hours after which a sign-in ends, used or not.")
    session_idle_min: float = Field(60.0, gt=0, le=1440, description="Minutes without use after which a sign-in ends.")
    device_session_lifetime_days: float = Field(
        14.0, gt=0, le=90, description="Days after which a sign-in on an enrolled device ends, used or not."
    )
    device_session_idle_days: float = Field(
        3.0, gt=0, le=30, description="Days without use after which a sign-in on an enrolled device ends."
    )
    fresh_sign_in_min: float = Field(
        15.0, gt=0, le=1440, description="Minutes for which a proof of identity is fresh enough for sensitive actions."
    )
    export_lifetime_h: float = Field(
        24.0, gt=0, le=720, description="Hours after which the file of an export is destroyed."
    )
    erasure_grace_days: float = Field(
        7.0, ge=0, le=21, description="Days for which an erasure that was confirmed can be taken back."
    )
    data_key_lifetime_s: float = Field(300.0, gt=0, le=3600, description="Seconds a data key stays in memory.")
    data_key_max_age_days: float = Field(
        365.0, gt=0, le=3650, description="Days after which a data key is replaced by the schedule."
    )
    signing_key_max_age_days: float = Field(
        90.0, gt=0, le=3650, description="Days after which the key of access tokens is replaced by the schedule."
    )
    key_encryption_key_max_age_days: float | None = Field(
        None,
        gt=0,
        le=3650,
        description="Days after which the schedule replaces the key-encryption key of the file, and wraps data keys by"
        " the newest key of any provider. For one machine alone where it is a file.",
    )
    cipher: Literal["AES-256-GCM-SIV", "AES-256-GCM"] = Field(
        "AES-256-GCM-SIV", description="What new values are sealed with; AES-256-GCM is for those bound to FIPS."
    )
    key_provider: Literal["file", "aws-kms", "vault-transit"] = Field(
        "file", description="Who keeps the key-encryption key: a file of the data directory, AWS KMS, Vault's transit."
    )
    key_provider_timeout_s: float = Field(2.0, gt=0, le=30, description="Seconds that the key provider may take.")
    aws_kms_key: str | None = Field(None, description="The key in AWS KMS, best by an alias: alias/fieldward")
    aws_kms_region: str | None = Field(None, description="Its region; else what boto3 finds.")
    aws_kms_endpoint_url: str | None = Field(None, description="Where KMS answers; else boto3's own.")
    vault_url: str | None = Field(None, description="Where Vault answers: https://vault.example:8200")
    vault_token: SecretStr | None = Field(None, description="The service's token for Vault.")
    vault_key: str | None = Field(None, description="The name of the key in Vault's transit engine.")
    vault_mount: str = Field("transit", description="Where the transit engine is mounted.")
    vault_namespace: str | None = Field(None, description="The namespace in Vault.")
    audit_name: str = Field(
        "fieldward",
        max_length=120,
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        description="This installation's name in the heads of the audit trail, best one that is nobody else's, such as"
        " audit.example.org. Not to be changed: every head signed so far is under it.",
    )
    audit_publish_url: str | None = Field(
        None,
        description="Where the heads of the audit trail are laid down: file:///directory, s3://bucket/prefix, or the"
        " https:// URL of a webhook.",
    )
    audit_publish_interval_s: float = Field(
        20.0, gt=0, le=60, description="Seconds from one look for new heads to publish to the next."
    )
    audit_bucket_region: str | None = Field(None, description="The bucket's region; else what boto3 finds.")
    audit_bucket_endpoint_url: str | None = Field(None, description="Where S3 answers; else boto3's own.")
    audit_witnesses: str | None = Field(
        None,
        max_length=10_000,
        description="Who cosigns the heads: of each witness its verifier key, a space, and its URL; several are"
        " separated by commas.",
    )
    public_url: str | None = Field(
        None,
        description="Where people reach the service, for links in mails: https://fieldward.example. Passkeys are bound"
        " to its domain, which can't be changed later without losing them; without it they work at http://localhost and"
        " its port alone.",
    )
    trusted_proxies: str | None = Field(
        None,
        max_length=2000,
        description="The proxies in front, whose X-Forwarded-For is believed: addresses or networks, separated by"
        " commas.",
    )
    allowed_origins: str | None = Field(
        None,
        max_length=2000,
        description="The origins of other pages, such as dashboards, that may ask by a token and read the answer:"
        " https://dashboard.example, separated by commas. None by default.",
    )
    alarm_email_to: str | None = Field(None, description="Whom alarms are mailed to: addresses, separated by commas.")
    smtp_host: str | None = Field(None, description="The mail server that takes alarms and letters to people.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How it is spoken to; none is for a server on this machine alone."
    )
    smtp_username: str | None = Field(None, description="The name to sign in to it with.")
    smtp_password: SecretStr | None = Field(None, description="The password for that.")
    smtp_from: str | None = Field(None, description="The address that they come from.")
    alarm_webhook_url: str | None = Field(None, description="Where alarms are posted to: by https, or on this machine.")
    alarm_webhook_secret: SecretStr | None = Field(
        None, description="What posted alarms are signed with: whsec_ and the base64 of at least 24 bytes."
    )
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="The bearer token for /metrics; without one there is no such address."
    )
    incident_denials: int = Field(
        DEFAULTS.denials, ge=1, description="Refusals of one person or program in 10 minutes that are an incident."
    )
    incident_denials_from_address: int = Field(
        DEFAULTS.denials_from_address,
        ge=1,
        description="Refusals of one address in 10 minutes, nobody being signed in, that are an incident.",
    )
    incident_sign_in_failures: int = Field(
        DEFAULTS.sign_in_failures,
        ge=1,
        description="Refused sign-ins to one account in 15 minutes that are an incident.",
    )
    incident_personal_rows: int = Field(
        DEFAULTS.personal_rows,
        ge=1,
        description="Rows whose personal values one person or program reads in an hour that are an incident.",
    )
    incident_role_denials: int = Field(
        DEFAULTS.role_denials,
        ge=1,
        description="Refusals of one person or program in an hour, about roles or programs, that are an incident.",
    )
    incident_device_proofs: int = Field(
        DEFAULTS.device_proofs,
        ge=1,
        description="Refreshes on one device in an hour without the proof of its key that are an incident.",
    )
    incident_sealing_lag_s: int = Field(
        DEFAULTS.sealing_lag_s, ge=10, description="Seconds that an entry waits to be sealed that are an incident."
    )
    incident_backup_age_h: int = Field(
        DEFAULTS.backup_age_h, ge=1, description="Hours since the newest backup that are an incident."
    )
    incident_backup_kept_days: int = Field(
        DEFAULTS.backup_kept_days, ge=1, le=30, description="Days that a backup is kept that are an incident."
    )
    incident_archiving_lag_s: int = Field(
        DEFAULTS.archiving_lag_s, ge=10, description="Seconds that WAL waits to be archived that are an incident."
    )
    shutdown_delay_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="Seconds that a process serves on after SIGTERM, while it says that it is not ready.",
    )
    shutdown_grace_s: float = Field(
        30.0, gt=0, le=600, description="Seconds that requests in progress have to end after that."
    )
    otlp_endpoint: str | None = Field(
        None,
        description="Where traces are sent to, by OTLP over HTTP: https://collector.example:4318, or this machine.",
    )
    trace_share: float = Field(1.0, ge=0, le=1, description="The part of all traces that is recorded.")
    migration_lock_timeout_s: float = Field(
        1.0, gt=0, le=60, description="Seconds that a migration waits for a lock before it lets others go first."
    )
    migration_attempts: int = Field(
        20, ge=1, le=1000, description="How often each migration is tried that waits for a lock too long."
    )
    limits: Literal["enforce", "measure"] = Field(
        "enforce",
        description="Whether an operation that asks for too much is refused, or run and noted in the log.",
    )
    import_limit_mib: int = Field(
        2047, ge=1, le=2047, description="Size of the largest file that is imported through the API, in MiB."
    )
    log_format: Literal["json", "console"] = Field("json", description="How the log is written.")
    password_cost: Literal["standard", "test"] = Field(
        "standard",
        description="Argon2id: standard is what the following three say; test is weak and for tests alone.",
    )
    password_memory_kib: int = Field(
        Parameters().memory_kib, ge=7168, le=4 * 1024 * 1024, description="Memory of one Argon2id, in KiB."
    )
    password_time_cost: int = Field(Parameters().time_cost, ge=1, le=100, description="Its passes over the memory.")
    password_parallelism: int = Field(Parameters().parallelism, ge=1, le=64, description="Its lanes.")

    @field_validator("*", mode="before")
    @classmethod
    def _take_empty_as_not_set(cls, given: object, info: ValidationInfo) -> object:
        """Take what is there and empty, as scripts and files of variables leave it, for what is not there.

        One that has a default is refused: another may have been meant, and as a path, nothing is the directory that a
        command is run in.
        """
        text = given.get_secret_value() if isinstance(given, SecretStr) else given
        if text != "":
            return given
        if info.field_name is None or cls.model_fields[info.field_name].default is not None:
            raise PydanticCustomError("empty", "expected a value, or that it is not set")
        return None

    @model_validator(mode="after")
    def _require_what_the_provider_needs(self) -> Self:
        needed = {"aws-kms": ("aws_kms_key",), "vault-transit": ("vault_url", "vault_token", "vault_key")}
        for name in needed.get(self.key_provider, ()):
            if not getattr(self, name):
                raise PydanticCustomError(
                    "missing", "FIELDWARD_{name}: expected, for this key provider", {"name": name.upper()}
                )
        return self

    @model_validator(mode="after")
    def _require_both_halves_of_tls(self) -> Self:
        for given, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
            if getattr(self, given) and not getattr(self, other):
                raise PydanticCustomError(
                    "missing",
                    "FIELDWARD_{name}: expected, beside FIELDWARD_{given}",
                    {"name": other.upper(), "given": given.upper()},
                )
        return self

    @field_validator("barman_servers")
    @classmethod
    def _require_servers(cls, text: str | None) -> str | None:
        if not all(SERVER.match(one) for one in _listed(text)):
            raise ValueError("expected names of Barman's servers, as in the brackets of its settings, and commas")
        return text

    @field_validator("barman_command")
    @classmethod
    def _require_words(cls, text: str) -> str:
        try:
            if shlex.split(text):
                return text
        except ValueError:
            pass
        raise ValueError("expected a program and its arguments, as a shell takes them")

    @field_validator("audit_publish_url")
    @classmethod
    def _require_place(cls, url: str | None) -> str | None:
        return None if url is None else require_place(url)

    @field_validator("audit_witnesses")
    @classmethod
    def _require_witnesses(cls, text: str | None) -> str | None:
        for key, url in _pairs(text):
            try:
                is_witness = VerifierKey.parse(key).type is SignatureType.COSIGNATURE
            except CheckpointError:
                is_witness = False
            if not is_witness:
                raise ValueError("Expected a witness's verifier key, a space, and its URL.")
            require_address(url)
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _require_networks(cls, text: str | None) -> str | None:
        networks_of(text)
        return text

    @field_validator("allowed_origins")
    @classmethod
    def _require_origins(cls, text: str | None) -> str | None:
        origins_of(text)
        return text

    @field_validator("public_url")
    @classmethod
    def _require_public_url(cls, url: str | None) -> str | None:
        if url is not None:
            relying_party(url, port=0)
        return url

    @property
    def traces_url(self) -> str | None:
        """Where traces are posted to: by our own variable, or by those of OpenTelemetry; None for nowhere."""
        standard = _OpenTelemetry()
        if standard.sdk_disabled:
            return None
        if self.otlp_endpoint is None and standard.exporter_otlp_traces_endpoint is not None:
            return standard.exporter_otlp_traces_endpoint
        endpoint = self.otlp_endpoint or standard.exporter_otlp_endpoint
        return None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"

    @property
    def witnesses(self) -> Sequence[tuple[str, str]]:
        """Of each witness its verifier key and its URL."""
        return _pairs(self.audit_witnesses)

    @property
    def barman_names(self) -> Sequence[str]:
        """What Barman calls the clusters that it copies and restores; none where it is not asked."""
        return _listed(self.barman_servers)

    @model_validator(mode="after")
    def _require_strong_hashes(self) -> Self:
        if not Parameters(self.password_memory_kib, self.password_time_cost, self.password_parallelism).is_strong:
            raise PydanticCustomError(
                "weak",
                "FIELDWARD_PASSWORD_MEMORY_KIB: expected more, for FIELDWARD_PASSWORD_TIME_COST: at least 47104 for 1,"
                " 19456 for 2, 12288 for 3, 9216 for 4, and 7168 for more",
            )
        return self

    @property
    def password_parameters(self) -> Parameters:
        """What a password's hash costs."""
        if self.password_cost == "test":  # noqa: S105  (a cost)
            return Parameters.for_tests()
        return Parameters(self.password_memory_kib, self.password_time_cost, self.password_parallelism)

    @model_validator(mode="after")
    def _require_what_mail_needs(self) -> Self:
        needed = {
            "alarm_email_to": ("smtp_host",),
            "smtp_host": ("smtp_from",),
            "alarm_webhook_url": ("alarm_webhook_secret",),
        }
        for given, wanted in needed.items():
            for name in wanted:
                if getattr(self, given) and not getattr(self, name):
                    raise PydanticCustomError(
                        "missing",
                        "FIELDWARD_{name}: expected, beside FIELDWARD_{given}",
                        {"name": name.upper(), "given": given.upper()},
                    )
        if self.smtp_security == "none" and self.smtp_host and self.smtp_host not in LOOPBACK:
            raise PydanticCustomError("insecure", "FIELDWARD_SMTP_SECURITY: none is for a server on this machine alone")
        if self.otlp_endpoint and not is_sound_url(self.otlp_endpoint):
            raise PydanticCustomError("insecure", "FIELDWARD_OTLP_ENDPOINT: expected https, or this machine")
        if self.public_url and not is_sound_url(self.public_url):
            raise PydanticCustomError("insecure", "FIELDWARD_PUBLIC_URL: expected https, or this machine")
        if self.alarm_webhook_url and not is_sound_url(self.alarm_webhook_url):
            raise PydanticCustomError("insecure", "FIELDWARD_ALARM_WEBHOOK_URL: expected https, or this machine")
        if self.alarm_webhook_secret is not None:
            try:
                webhook_key(self.alarm_webhook_secret.get_secret_value())
            except ValueError:
                raise PydanticCustomError(
                    "secret", "FIELDWARD_ALARM_WEBHOOK_SECRET: expected whsec_ and the base64 of at least 24 bytes"
                ) from None
        return self

    @property
    def thresholds(self) -> Thresholds:
        """From how many on the rules over the trail find an incident."""
        return Thresholds(**{one.name: getattr(self, f"incident_{one.name}") for one in dataclasses.fields(Thresholds)})

    @property
    def token_issuer(self) -> str:
        """Who is named as the issuer of access tokens: a URL, where others are to find out how to get some."""
        return self.issuer or (self.public_url or "fieldward").rstrip("/")

    @property
    def quota(self) -> Quota:
        """What one person or program may ask for in a while."""
        return Quota(self.rate_limit_requests or None, self.rate_limit_cost or None, self.concurrency or None)

    @property
    def anonymous_quota(self) -> Quota:
        """What one network may ask for in a while without a sign-in."""
        return Quota(
            self.anonymous_rate_limit_requests or None,
            self.anonymous_rate_limit_cost or None,
            self.anonymous_concurrency or None,
        )

    @property
    def is_production(self) -> bool:
        """Whether other people's data are served."""
        return self.mode == "production"

    @property
    def is_on_loopback(self) -> bool:
        """Whether nobody but this machine reaches what is listened on."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def public_address(self) -> str:
        """Where people reach the service: the public URL; without one this machine, by its name where it has one.

        Browsers keep passkeys for names alone (`resolvers/relying_party.py`).
        """
        return (self.public_url or self.own_address(by_name=True)).rstrip("/")

    def own_address(self, *, by_name: bool = False) -> str:
        """Return where the process itself is reached. by_name: whether this machine is called by its name."""
        host = "localhost" if by_name and self.host == "127.0.0.1" else self.host
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self.tls_certificate is None else 'https'}://{shown}:{self.port}"

    @property
    def reading_pool_size(self) -> int:
        """How many of `pool_size` are for reading: most of them, and at least one is left for changes."""
        return min((self.pool_size * 3 + 4) // 5, self.pool_size - 1)

    @property
    def changing_pool_size(self) -> int:
        """How many of `pool_size` are for changes."""
        return self.pool_size - self.reading_pool_size

    @property
    def is_embedded(self) -> bool:
        """Whether the embedded PostgreSQL is used: where no database is named at all."""
        named = (self.database_url, self.owner_database_url, self.keystore_url, self.owner_keystore_url)
        return not any(named)


def _listed(text: str | None) -> Sequence[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _pairs(text: str | None) -> Sequence[tuple[str, str]]:
    found = [one.partition(" ") for one in _listed(text)]
    return [(key.strip(), url.strip()) for key, _, url in found]


def tls_key_log() -> str | None:
    """Return where libraries write down the keys of every TLS connection, for debugging; None where they don't."""
    return os.environ.get("SSLKEYLOGFILE") or None
