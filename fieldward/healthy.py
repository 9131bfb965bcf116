"""Whether the service in this container is ready: `python -m fieldward.healthy` ends with 0 if it is, else with 1."""

import sys
import urllib.error
import urllib.request
from typing import Final

from fieldward.settings import Settings

TIMEOUT_S: Final = 5.0


def is_ready(settings: Settings) -> bool:
    """Return whether the service that these settings describe says that it is ready."""
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  (where it is asked)
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=TIMEOUT_S) as answer:  # noqa: S310  (this machine)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_ready(Settings()) else 1)
