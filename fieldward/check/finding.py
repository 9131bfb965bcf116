"""What a look at an installation finds, and how much that matters."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters. REFUSED: production mode does not start."""

    REFUSED = "REFUSED"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for.

    name: what a finding is called, for good. title: what is wrong where there is one. do: what to do then.
    asvs: the requirements of OWASP ASVS 5.0.0 that it is about. cis: the recommendations of the CIS PostgreSQL 16
        Benchmark. Empty where there is none: either is about some of what is looked for, and CIS about databases alone.
    """

    name: str
    severity: Severity
    title: str
    do: str
    asvs: Sequence[str] = ()
    cis: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be. `where` names the variable, the file, the database or the role, and what it
    is like; never a secret."""

    rule: Rule
    where: str
    variable: str | None = None

    @property
    def refusal(self) -> str:
        """What is said by who does not start because of it: the variable first, if it is one's."""
        name = f"FIELDWARD_{self.variable.upper()}: " if self.variable is not None else ""
        return f"{name}{self.where}. {self.rule.do}"
