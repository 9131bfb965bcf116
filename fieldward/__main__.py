"""`python -m fieldward`: puts the project's root first on the path, and refuses to run on somebody else's packages."""

import gc
import importlib.util
import sys
from pathlib import Path

PACKAGES = ("auth", "models", "resolvers", "schema", "fieldward")


def require_own_packages(root: Path) -> None:
    """Exit unless each of our packages is the one under the root: their names are common ones."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None or origin.parent != (root / name).resolve():
            sys.exit(f"fieldward: the package {name!r} is found at {origin}, not under {root}. Run from the root.")


def main() -> None:
    """Check the packages, then hand over to the command line."""
    require_own_packages(Path(__file__).resolve().parent.parent)
    # What is made while modules are imported stays: looking among it for garbage takes a sixth of that time.
    gc.disable()
    try:
        from fieldward.cli.app import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
