"""A SQL statement under composition: text made from the inventory's own names, values bound as arguments."""

from typing import Any


class Statement:
    """Collects the arguments of one statement; `argument` answers the placeholder to write in its text."""

    __slots__ = ("arguments",)

    def __init__(self) -> None:
        self.arguments: list[Any] = []

    def argument(self, value: Any) -> str:
        """Bind a value and return its placeholder, such as `$3`."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"
