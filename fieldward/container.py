"""What is built once and handed down: keys, passwords, tokens, the clock, the schema."""

import os
from datetime import UTC, datetime
from pathlib import Path

from auth.password import Parameters, Passwords
from auth.token import SigningKey
from fieldward.settings import Settings
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from resolvers.services import Services, SessionPolicy


def build_services(settings: Settings) -> Services:
    """Build the services from the keys in the data directory, making the keys where there are none yet."""
    directory = settings.data_directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing_key = load_signing_key(directory / "signing-key.pem")
    return Services(
        keyring=Keyring(
            KeyStore("keystore"),
            load_provider(directory / "key-encryption-key"),
            lifetime_s=settings.data_key_lifetime_s,
        ),
        passwords=Passwords(Parameters.for_tests() if settings.password_cost == "test" else Parameters()),
        signing_key=signing_key,
        verifying_keys={signing_key.id: signing_key.public},
        sessions=SessionPolicy(issuer=settings.issuer, audience=settings.audience),
        clock=lambda: datetime.now(UTC),
    )


def load_provider(path: Path) -> FileKeyProvider:
    """Open the key-encryption key, or make it."""
    return FileKeyProvider.open(path) if path.exists() else FileKeyProvider.create(path)


def load_signing_key(path: Path) -> SigningKey:
    """Open the key that signs access tokens, or make it, readable by its owner alone."""
    if path.exists():
        return SigningKey.from_pem(path.read_bytes())
    key = SigningKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.to_pem())
    return key
