"""What a file held in the last commit: the one that the work at hand stands on.

In a working tree in which something that git tracks is changed, that is HEAD: the changes are the next commit. In a
clean one, as CI checks it out, HEAD is the work at hand, and the last commit its first parent: of a merge, what it was
merged into, so that all that the merge brings is the work at hand.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Step = tuple[str, str]
"""What a file held after a commit, and before it; an empty text where it was not there."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a file held, how the commit is called, and each change of the file since: the working tree's is the last."""

    text: str
    called: str
    steps: Sequence[Step]


def in_last_commit(path: Path, *, against: str | None = None) -> Earlier | None:
    """Return what the file held in the last commit; None where that is not known or did not have the file.

    It is not known in a copy without git's history, and in a shallow clone of one commit.

    against: the commit to take instead.
    """
    revision = against or ("HEAD" if _git(path, "status", "--porcelain", "--untracked-files=no") else "HEAD^")
    commit = (_git(path, "rev-parse", "--short", f"{revision}^{{commit}}") or "").strip()
    text = _held(path, commit) if commit else ""
    if not text:
        return None
    since = (_git(path, "rev-list", f"{commit}..HEAD", "--", path.name) or "").split()
    steps = [(_held(path, one), _held(path, f"{one}^")) for one in since]
    steps.append((path.read_text() if path.exists() else "", _held(path, "HEAD")))
    return Earlier(text, f"{revision} ({commit})", steps)


def _held(path: Path, revision: str) -> str:
    return _git(path, "show", f"{revision}:./{path.name}") or ""


def _git(path: Path, *arguments: str) -> str | None:
    """Return what git says, asked from beside the file; None where it refuses, or is not there.

    CI may have checked the project out as another user. Whatever git would run for its owner, this does not ask for.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(path.parent), "-c", "safe.directory=*", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
