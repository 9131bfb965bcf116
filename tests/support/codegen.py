"""An environment of its own for `ariadne-codegen`, which needs an older graphql-core than ours."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parents[1] / "clients"
_REQUIREMENTS: Final = _HERE / "requirements-codegen.txt"
_ENVIRONMENT: Final = _HERE / ".codegen"


def codegen_environment() -> Path:
    """Return the directory of the programs of the environment, made anew where its locked requirements changed."""
    stamp = _ENVIRONMENT / hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    programs = _ENVIRONMENT / "bin"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], check=True)
        subprocess.run(
            [
                *(str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--require-hashes", "-r", str(_REQUIREMENTS)),
            ],
            check=True,
        )
        stamp.touch()
    return programs
