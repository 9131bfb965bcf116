"""Whether the service in this container is ready: `python -m fieldward.healthy` ends with 0 if it is, else with 1."""

import ssl
import sys
import urllib.error
import urllib.request
from typing import Final

from fieldward.settings import Settings

TIMEOUT_S: Final = 5.0


def is_ready(settings: Settings) -> bool:
    """Return whether the service that these settings describe says that it is ready."""
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  (where it is asked)
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if settings.tls_certificate is None else "https"
    # Of this machine itself, by no proxy, and nothing secret is sent: the certificate is of another name, and need be
    # of nobody.
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    asking = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    )
    try:
        with asking.open(f"{scheme}://{shown}:{settings.port}/health/ready", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_ready(Settings()) else 1)
