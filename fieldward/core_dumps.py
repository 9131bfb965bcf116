"""No memory of ours on a disk: data keys and opened values are in it.

Promises that a process which crashes leaves no image of its memory, and that nobody but root reads it while it runs.
Linux alone takes the second part; elsewhere the limit holds by itself. What is started from here is as it would be
without: PostgreSQL, which holds no key, dumps as the system says.
"""

import contextlib
import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""prctl(2)."""


def forbid_core_dumps() -> None:
    """Have the kernel write nothing of this process to a disk when it crashes, and let no debugger of the same user in.

    A limit of zero is not enough where the kernel pipes dumps into a program (core(5)): those are sent whatever the
    limit says. A process that is not dumpable sends none; its files below `/proc` belong to root.
    """
    with contextlib.suppress(OSError, ValueError):
        # The soft one alone: what is started from here may raise its own again.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
