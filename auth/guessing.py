"""How hard a password is to guess, by zxcvbn: against lists of common and breached passwords, words and names, keyboard
rows, dates, repetitions, and against what is known of whose it is.

Nothing here keeps what it was given, or says any of it. It takes milliseconds, and half a second at the worst for each
part of a password that was made to be slow, so callers run it where they hash.

Standard: NIST SP 800-63B-4, 3.1.1.2 (a blocklist of common, expected and compromised values; what was refused is said).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zxcvbn.matching import RANKED_DICTIONARIES, build_ranked_dict, omnimatch
from zxcvbn.scoring import most_guessable_match_sequence

FEWEST_GUESSES: Final = 10**8
"""Below, zxcvbn calls a password guessable; above, an Argon2id hash of it that leaks holds out."""

PART: Final = 24
"""Characters that are judged together. zxcvbn's work grows with the square of them, and by as much again where they can
be read as other letters in many ways: 72 of those take five seconds, 24 half a second."""
MOST_JUDGED: Final = 72
"""Characters that are judged at all."""

_OWN: Final = "user_inputs"
_ALWAYS: Final = ("fieldward",)
_SHORTEST_WORD: Final = 3
LEAST_LETTERS: Final = 6
"""Letters that are left of a password without what is known of whose it is. To zxcvbn each blank or digit between two
names makes a password ten times as hard; whoever knows the names tries those first."""

_WHY: Final[Mapping[str, str]] = {
    _OWN: "it is made of your name, your address or your organization",
    "passwords": "it is among the passwords that are most used",
    "dictionary": "it is made of common words or names",
    "repeat": "it repeats itself",
    "sequence": "it is a sequence, such as abc or 654",
    "spatial": "it is a row of keys that lie side by side",
    "regex": "it is made of years",
    "date": "it is made of dates",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """How many guesses a password takes, and what makes it as easy as it is, in words that give nothing away."""

    guesses: float
    why: str

    @property
    def is_easy(self) -> bool:
        """Whether it takes too few."""
        return self.guesses < FEWEST_GUESSES


def guess(password: str, about: Iterable[str] = ()) -> Guess:
    """Return how hard the password is to guess for somebody who knows this of whose it is.

    about: their address, their name, their organization's name: such texts.

    A long one is judged in parts: who guesses all of it guesses each part, so it is as hard as the hardest.
    """
    judged, own = password[:MOST_JUDGED], _words((*about, *_ALWAYS))
    if _is_little_else(judged, own):
        return Guess(0, _WHY[_OWN])
    # An own table, and not zxcvbn's: that one is shared by all threads, and keeps what it was given.
    tables = {**RANKED_DICTIONARIES, _OWN: build_ranked_dict(own)}
    hardest = Guess(0, _WHY["dictionary"])
    for start in range(0, len(judged), PART):
        found = _guess_part(judged[start : start + PART], tables)
        if found.guesses > hardest.guesses:
            hardest = found
        if not hardest.is_easy:
            break
    return hardest


def _guess_part(part: str, tables: Mapping[str, Any]) -> Guess:
    found = most_guessable_match_sequence(part, omnimatch(part, tables))
    matched = [one for one in found["sequence"] if one["pattern"] != "bruteforce"]
    longest = max(matched, key=lambda one: len(one["token"]), default=None)
    return Guess(float(found["guesses"]), _why(longest))


def _why(match: Mapping[str, Any] | None) -> str:
    if match is None:
        return "it is too simple"
    if match["pattern"] == "dictionary":
        return _WHY.get(match["dictionary_name"], _WHY["dictionary"])
    return _WHY.get(match["pattern"], _WHY["dictionary"])


def _is_little_else(password: str, own: Sequence[str]) -> bool:
    """Return whether the password holds some of these words and hardly anything beside them."""
    folded = left = password.casefold()
    for word in sorted(own, key=len, reverse=True):
        left = left.replace(word, " ")
    return left != folded and sum(character.isalpha() for character in left) < LEAST_LETTERS


def _words(texts: Iterable[str]) -> Sequence[str]:
    """Return what of these texts somebody would guess by: each of them, and each of its words."""
    found: dict[str, None] = {}
    for text in texts:
        for word in (text, *re.split(r"[\W_]+", text)):
            if len(word) >= _SHORTEST_WORD:
                found[word.casefold()] = None
    return list(found)
