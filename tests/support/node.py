"""Programs that run on Node with the locked packages of `tests/clients`: clients of others, and their audits."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CLIENTS: Final = Path(__file__).resolve().parents[1] / "clients"


def run_node(*arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 120) -> str:
    """Run Node in `tests/clients` and return what it prints.

    arguments: the script, relative to that directory, and what it is given.

    Raises:
        AssertionError: it failed, with what it said; or the packages are not installed.
    """
    assert (CLIENTS / "node_modules").is_dir(), "the packages are missing: make setup"
    done = subprocess.run(
        ["node", *arguments],
        cwd=CLIENTS,
        env=dict(env) if env is not None else None,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
