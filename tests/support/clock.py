"""A clock that jumps, for one process: Debian's libfaketime, told by a file what time it is."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import REQUIRED

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)


@dataclass
class Clock:
    """The clock of who runs in its environment. It begins as this machine's."""

    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs for its clock to be this one. Skips the test where there is no libfaketime."""
        library = next((one for one in LIBRARIES if Path(one).exists()), None)
        if library is None:
            missing = "libfaketime is not installed (Debian: apt-get install faketime)"
            (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(missing)
        self.jump(0)
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            # What waits, waits as long as it says: an event loop's clock jumps with no wall clock.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """Have the clock show so many seconds more than it is; fewer for a negative number."""
        made = self.file.with_suffix(".new")
        made.write_text(f"{seconds:+d}s\n")
        made.rename(self.file)
