"""The files of the tests that failed last, run once more by themselves: `python -m tests.support.again`.

Tests that start servers, kill them and wait for them share two cores and a disk with thousands of others. What fails
then, and not by itself, is told in CI's log and wants to be mended; it keeps nobody's change out. What fails in many
files, or with nothing beside it, does.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.server import ROOT

LAST_FAILED: Final = ROOT / ".pytest_cache/v/cache/lastfailed"
"""Where pytest keeps the names of what failed."""
MOST_FILES: Final = 3
"""More is no accident."""


def failed_files(last_failed: Path) -> list[str]:
    """Return the files of what failed in the last run, in order; none where pytest noted nothing."""
    if not last_failed.exists():
        return []
    return sorted({name.partition("::")[0] for name in json.loads(last_failed.read_text())})


def main() -> int:
    """Return how the files of what failed fare by themselves; 1 also where there are none to run, or too many."""
    files = failed_files(LAST_FAILED)
    if not 0 < len(files) <= MOST_FILES:
        print(f"{len(files)} files had failures: not run again.", file=sys.stderr)
        return 1
    print(f"FAILED AMONG OTHERS, and run again alone: {', '.join(files)}", file=sys.stderr, flush=True)
    return subprocess.call([sys.executable, "-m", "pytest", *files], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
