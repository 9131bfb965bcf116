"""What a session is called where the person has given it no name: the browser or program, and what it runs on.

By a few rules over what the client says of itself, which is nobody's promise: for people to tell their sign-ins apart,
and for no decision. More of the text than such a word is not shown.
"""

import re
from typing import Final

# In this order: most browsers also say that they are one of those further down.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("FxiOS", "Firefox"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chromium", "Chromium"),
    ("Chrome", "Chrome"),
    ("HeadlessChrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_PROGRAM: Final = re.compile(r"[A-Za-z][A-Za-z0-9 ._-]{0,39}(?=/|$)")


def client_name_of(user_agent: str | None) -> str | None:
    """Return "Firefox on Linux", or a program's own name, for what a client says of itself; None if it says nothing."""
    if not user_agent:
        return None
    browser = next((name for word, name in _BROWSERS if re.search(rf"\b{word}(A|iOS)?/", user_agent)), None)
    system = next((name for word, name in _SYSTEMS if word in user_agent), None)
    if browser is None:
        said = _PROGRAM.match(user_agent)
        browser = said[0].strip() if said is not None and not user_agent.startswith("Mozilla/") else None
    if browser is None:
        return system
    return browser if system is None else f"{browser} on {system}"
