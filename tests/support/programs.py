"""Programs of the system that some tests want, and the tests that are left out where one is missing."""

import os
import shutil
from typing import Final

import pytest

REQUIRED: Final = "PROGRAMS_REQUIRED"
"""The variable that says that none may be missing, as where CI has installed them: then such a test fails."""


def needs(*names: str) -> pytest.MarkDecorator:
    """Return the mark of a test that runs these programs."""
    missing = [one for one in names if shutil.which(one) is None]
    return pytest.mark.skipif(
        bool(missing) and not os.environ.get(REQUIRED), reason=f"not installed: {', '.join(missing)}"
    )
