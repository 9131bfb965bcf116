"""Whether this process was asked to end: then it says that it is not ready, and ends what it has at hand."""


class Draining:
    """Said once, for good. is_ending: whether it was."""

    __slots__ = ("is_ending",)

    def __init__(self) -> None:
        self.is_ending = False

    def begin(self) -> None:
        """Say that the process ends."""
        self.is_ending = True
