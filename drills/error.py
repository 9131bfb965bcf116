"""What a drill says when something did not hold."""


class DrillError(Exception):
    """Something did not hold. The message says what."""


def require(holds: bool, what: str) -> None:
    """Raise `DrillError` with what did not hold, unless it does."""
    if not holds:
        raise DrillError(what)
