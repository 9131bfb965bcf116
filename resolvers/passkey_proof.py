"""Asking a passkey to sign, and checking what it signed: WebAuthn 2, sections 7.1 and 7.2, over py_webauthn.

User verification is demanded everywhere, so that a passkey is two factors: the key that is had, and what unlocks it.
Nothing is kept here, and nothing waits.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import parse_authentication_credential_json, parse_client_data_json
from webauthn.helpers import parse_registration_credential_json as parse_registration
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from models.authenticator import Authenticator
from resolvers.relying_party import RelyingParty

NONCE_BYTES: Final = 32
LONGEST: Final = 20_000
"""Characters of what a browser says of a passkey; a key with a long certificate takes some thousands."""
MOST_CREDENTIAL_BYTES: Final = 1023
"""Of a credential's id (WebAuthn 2, 7.1)."""
_TIMEOUT_MS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Registered:
    """A passkey that was made for somebody."""

    credential: bytes
    public_key: bytes
    sign_count: int
    transports: Sequence[str]


@dataclass(frozen=True, slots=True)
class Asserted:
    """A passkey that signed, and how often it did by its own count."""

    authenticator: Authenticator
    sign_count: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whose a passkey says that it is, not checked yet, and its id."""

    user_id: UUID
    credential: bytes


def new_nonce() -> bytes:
    """Return what a passkey is to sign: 256 random bits."""
    return secrets.token_bytes(NONCE_BYTES)


def registration_options(
    party: RelyingParty,
    *,
    nonce: bytes,
    user_id: UUID,
    account: str,
    passkeys: Sequence[Authenticator],
) -> str:
    """Return the JSON for `PublicKeyCredential.parseCreationOptionsFromJSON`.

    account: what the passkey is listed by where it is kept. passkeys: those that there are, not to be made anew.
    """
    return options_to_json(
        generate_registration_options(
            rp_id=party.id,
            rp_name=party.name,
            user_id=user_id.bytes,
            user_name=account,
            challenge=nonce,
            timeout=_TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(passkeys),
        )
    )


def assertion_options(party: RelyingParty, *, nonce: bytes, passkeys: Sequence[Authenticator] = ()) -> str:
    """Return the JSON for `PublicKeyCredential.parseRequestOptionsFromJSON`. passkeys: which may sign; none: any."""
    return options_to_json(
        generate_authentication_options(
            rp_id=party.id,
            challenge=nonce,
            timeout=_TIMEOUT_MS,
            allow_credentials=_descriptors(passkeys),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    )


def verify_registration(party: RelyingParty, said: str, *, nonce: bytes) -> Registered | None:
    """Return the passkey that a browser says was made; None if it was not made for that, or here, or is broken.

    said: the JSON of a `PublicKeyCredential`.
    """
    if len(said) > LONGEST:
        return None
    try:
        credential = parse_registration(said)
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=nonce,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            require_user_verification=True,
        )
        is_framed = _is_framed(credential.response.client_data_json)
    except Exception:
        # The parsers of what a stranger sent raise what they like. Whatever it is: nothing was proved.
        return None
    if is_framed or not 0 < len(verified.credential_id) <= MOST_CREDENTIAL_BYTES:
        return None
    return Registered(
        credential=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        transports=sorted({one.value for one in credential.response.transports or ()}),
    )


def claimed(said: str) -> Claimed | None:
    """Return whose a passkey says that it is, for a sign-in that begins with it; None if it says nothing of that."""
    credential = _parsed(said)
    if credential is None or credential.response.user_handle is None:
        return None
    try:
        return Claimed(UUID(bytes=credential.response.user_handle), credential.raw_id)
    except ValueError:
        return None


def verify_assertion(
    party: RelyingParty, said: str, *, nonce: bytes, passkeys: Sequence[Authenticator]
) -> Asserted | None:
    """Return which of somebody's passkeys signed the nonce, unlocked by its owner, on a page of ours; None if none did.

    Whether its count went on is for whoever uses it up: that is compared where it is kept.
    """
    credential = _parsed(said)
    if credential is None:
        return None
    used = next((one for one in passkeys if one.credential == credential.raw_id), None)
    if used is None or used.public_key is None or credential.response.user_handle not in {None, used.user_id.bytes}:
        return None
    try:
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=nonce,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            credential_public_key=used.public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
        is_framed = _is_framed(credential.response.client_data_json)
    except Exception:
        # As in a registration: nothing was proved.
        return None
    return None if is_framed else Asserted(used, verified.new_sign_count)


def _parsed(said: str) -> AuthenticationCredential | None:
    if len(said) > LONGEST:
        return None
    try:
        return parse_authentication_credential_json(said)
    except Exception:
        # As in a registration: nothing was proved.
        return None


def _is_framed(client_data: bytes) -> bool:
    """Return whether another site's page had ours in a frame: no page of ours is made for that."""
    return bool(parse_client_data_json(client_data).cross_origin)


def _descriptors(passkeys: Sequence[Authenticator]) -> list[PublicKeyCredentialDescriptor]:
    known: dict[str, Any] = {one.value: one for one in AuthenticatorTransport}
    return [
        PublicKeyCredentialDescriptor(
            id=one.credential, transports=[known[name] for name in one.transports or () if name in known] or None
        )
        for one in passkeys
        if one.credential is not None
    ]
