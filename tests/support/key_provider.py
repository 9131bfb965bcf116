"""Key providers of any server, and what is done with them."""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from models.encryption.aws_kms_provider import AwsKmsProvider
from models.encryption.provider import KeyProvider
from models.encryption.vault_transit_provider import VaultTransitProvider
from tests.support.key_servers import REGION
from tests.support.transit_server import SERVICE_TOKEN

AWS_SECRET: Final = "aws-secret-of-the-tests"
SECRET: Final = b"32 bytes that nobody ever shows."
CONTEXT: Final = {"owner_kind": "person", "owner_id": "7", "purpose": "data key"}
PATIENT_S: Final = 20.0
"""Longer than any server of the tests takes, on a busy machine too."""

AT: Final[Mapping[str, Callable[[str, float], KeyProvider]]] = {
    "aws-kms": lambda url, timeout_s: AwsKmsProvider("alias/any", region=REGION, endpoint_url=url, timeout_s=timeout_s),
    "vault-transit": lambda url, timeout_s: VaultTransitProvider(url, SERVICE_TOKEN, "fieldward", timeout_s=timeout_s),
}
"""A provider of the server at a URL, and for how long it waits."""

OPENABLE: Final = {"aws-kms": b"\x01" * 150, "vault-transit": b"vault:v1:" + base64.b64encode(b"\x01" * 60)}
"""What looks wrapped."""

OPERATIONS: Final[Mapping[str, Callable[[KeyProvider], Any]]] = {
    "wrap": lambda provider: provider.wrap(SECRET, CONTEXT),
    "unwrap": lambda provider: provider.unwrap(OPENABLE[provider.name], CONTEXT),
    "newest": lambda provider: provider.newest(),
    "rotate": lambda provider: provider.rotate(),
}
"""What is asked of a provider."""
