"""What is built once and handed down: keys, passwords, tokens, the clock, the schema."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from auth.password import Passwords
from fieldward.settings import Settings
from models.encryption.aws_kms_provider import AwsKmsProvider
from models.encryption.destruction import DestructionLog
from models.encryption.envelope import Algorithm
from models.encryption.file_provider import BEGINNING, FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.encryption.provider import KeyProvider
from models.encryption.signing import SigningKeys
from models.encryption.vault_transit_provider import VaultTransitProvider
from models.ledger.checkpoint import HeadSigner
from models.outside.place import FilePlace, Place, WebhookPlace, directory_of
from models.outside.s3_place import S3Place
from models.signed_heads import SignedHeads
from resolvers.alarm import Outbox
from resolvers.alarm_channel import AlarmSender, EmailSender, WebhookSender, webhook_key
from resolvers.allowance import Allowances
from resolvers.mail_server import MailServer
from resolvers.mailer import Mailer, MailRoute, SmtpMailer
from resolvers.publication import reader_of
from resolvers.relying_party import relying_party
from resolvers.rollback_guard import RollbackGuard
from resolvers.sealing import Sealer
from resolvers.services import Services, SessionPolicy

DESTRUCTIONS: Final = "destructions.jsonl"
"""The file of destroyed keys, in the data directory, and its copy among the backups."""


def build_services(settings: Settings, *, mailer: Mailer | None = None) -> Services:
    """Build the services from the keys in the data directory, making the keys where there are none yet.

    mailer: what takes letters to people where no mail server is set.
    """
    directory = settings.data_directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = KeyStore()
    keyring = _build_keyring(settings, store)
    return Services(
        keyring=keyring,
        keystore=store,
        destructions=DestructionLog(directory / DESTRUCTIONS, _copies(settings)),
        passwords=Passwords(settings.password_parameters),
        signing_keys=SigningKeys(keyring, store),
        sealer=build_sealer(settings),
        sessions=SessionPolicy(
            issuer=settings.token_issuer,
            audience=settings.audience,
            session_lifetime=timedelta(hours=settings.session_lifetime_h),
            session_idle=timedelta(minutes=settings.session_idle_min),
            device_lifetime=timedelta(days=settings.device_session_lifetime_days),
            device_idle=timedelta(days=settings.device_session_idle_days),
            fresh_for=timedelta(minutes=settings.fresh_sign_in_min),
        ),
        relying_party=relying_party(settings.public_url, port=settings.port),
        clock=lambda: datetime.now(UTC),
        public_url=settings.public_url,
        enforces_limits=settings.limits == "enforce",
        allowances=Allowances(settings.quota, settings.anonymous_quota),
        import_limit=settings.import_limit_mib * 1024**2,
        erasure_grace=timedelta(days=settings.erasure_grace_days),
        operation_timeout_s=settings.operation_timeout_s,
        mail=build_mail_route(settings, otherwise=mailer),
    )


def _copies(settings: Settings) -> Sequence[Path]:
    """Return where the log of destroyed keys is copied to: to the backups, which must bring back nothing erased."""
    directory = settings.backup_directory
    return [] if directory is None or not settings.is_embedded else [directory / DESTRUCTIONS]


def load_providers(settings: Settings) -> tuple[KeyProvider, Sequence[KeyProvider]]:
    """Return who wraps data keys, and who else can unwrap some: those that the settings still say all of.

    Raises:
        WrappingKeyError: the key-encryption key can't be had.
    """
    path = settings.data_directory / "key-encryption-key"
    others: dict[str, KeyProvider] = {}
    if path.exists():
        others["file"] = FileKeyProvider.open(path)
    elif settings.key_provider == "file":
        others["file"] = FileKeyProvider.create(path)
    if settings.aws_kms_key:
        others["aws-kms"] = AwsKmsProvider(
            settings.aws_kms_key,
            region=settings.aws_kms_region,
            endpoint_url=settings.aws_kms_endpoint_url,
            timeout_s=settings.key_provider_timeout_s,
        )
    if settings.vault_url and settings.vault_token is not None and settings.vault_key:
        others["vault-transit"] = VaultTransitProvider(
            settings.vault_url,
            settings.vault_token.get_secret_value().strip(),
            settings.vault_key,
            mount=settings.vault_mount,
            timeout_s=settings.key_provider_timeout_s,
            namespace=settings.vault_namespace,
        )
    provider = others.pop(settings.key_provider)
    return provider, tuple(others.values())


async def require_own_key_file(services: Services) -> None:
    """Require that the key file is the one that belongs to the keystore, before anything is sealed under another.

    A file that is missing was just made anew, and opens nothing that there is.

    Raises:
        WrappingKeyError: the file's keys have wrapped none of the data keys that are said to be wrapped by a file.
        UnavailableError: the keystore is away.
    """
    provider = services.keyring.provider
    if isinstance(provider, FileKeyProvider):
        provider.require_some(await services.keystore.beginnings(provider.name, BEGINNING))


def _build_keyring(settings: Settings, store: KeyStore) -> Keyring:
    provider, others = load_providers(settings)
    return Keyring(
        store,
        provider,
        others=others,
        lifetime_s=settings.data_key_lifetime_s,
        algorithm=Algorithm[settings.cipher.replace("-", "_")],
    )


def build_sealer(settings: Settings) -> Sealer:
    """Return who signs the heads of the audit trail, by the key in the data directory, made where there is none."""
    directory = settings.data_directory
    sealer = Sealer(kept_signer(directory / "audit-signing-key.pem"), settings.audit_name)
    place = build_place(settings)
    outside = None if place is None else reader_of(place, sealer)
    return replace(sealer, guard=RollbackGuard(SignedHeads(directory / "signed-heads.sqlite"), outside))


def kept_signer(path: Path) -> HeadSigner:
    """Return who signs by the key in a file, made where there is none. Raises `ValueError` if it is no such key."""
    return HeadSigner.from_pem(_kept(path, lambda: HeadSigner.generate().to_pem()))


def build_place(settings: Settings) -> Place | None:
    """Return where heads are published; None where no such place is set.

    Raises:
        PlaceError: it can't be set up.
    """
    url = settings.audit_publish_url
    if url is None:
        return None
    if url.startswith("file:"):
        return FilePlace(directory_of(url))
    if url.startswith("s3:"):
        return S3Place(url, region=settings.audit_bucket_region, endpoint_url=settings.audit_bucket_endpoint_url)
    return WebhookPlace(url)


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what a file holds; where there is none, what was made for it, readable by its owner alone.

    Of two processes that start at once, both use the one that came first, and neither sees half of it.
    """
    if not path.exists():
        made = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_bytes()


def build_outbox(settings: Settings) -> Outbox:
    """Return how alarms leave: through the channels that the settings name."""
    senders: list[AlarmSender] = []
    server = _mail_server(settings)
    if settings.alarm_email_to and server is not None and settings.smtp_from:
        recipients = tuple(one.strip() for one in settings.alarm_email_to.split(",") if one.strip())
        senders.append(EmailSender(server, settings.smtp_from, recipients))
    if settings.alarm_webhook_url and settings.alarm_webhook_secret is not None:
        key = webhook_key(settings.alarm_webhook_secret.get_secret_value())
        senders.append(WebhookSender(settings.alarm_webhook_url, key))
    return Outbox(tuple(senders), settings.public_url)


def build_mail_route(settings: Settings, *, otherwise: Mailer | None = None) -> MailRoute | None:
    """Return how letters to people leave: through the mail server; None where there is none, or no public address.

    otherwise: what takes them where no mail server is set; links lead to this machine then, if no address is set.
    """
    server = _mail_server(settings)
    if server is not None and settings.smtp_from:
        return MailRoute(SmtpMailer(server, settings.smtp_from), settings.public_url) if settings.public_url else None
    if otherwise is None:
        return None
    return MailRoute(otherwise, settings.public_address)


def _mail_server(settings: Settings) -> MailServer | None:
    if settings.smtp_host is None:
        return None
    password = settings.smtp_password
    return MailServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_username,
        password.get_secret_value() if password is not None else None,
    )
