"""`check`: whether an installation is as it must be, before and while it serves."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from fieldward.check.deployment import check_deployment
from fieldward.check.finding import Finding, Severity
from fieldward.check.rule import RULES
from fieldward.cli.environment import load_settings, reach, refuse, run

FOUND: Final = 9
"""The exit code where something is HIGH, or keeps production from starting."""
_WIDTH: Final = 100
_GRAVE: Final = frozenset({Severity.REFUSED, Severity.HIGH})


def check(
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Look at settings, files, databases, and what is around.")
    ] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print what is looked for, as in docs/security.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is not as it must be where other people's data are served: why, what to do, and by which control.

    It looks as production does at its start, whatever the mode is, and at more: at the databases' settings and walls,
    the clock, the key provider. It changes nothing; an embedded database that does not run starts for it, and stops.
    Give it the environment of the service. REFUSED means that production does not start so; the others say how much
    they matter. The controls are those of OWASP ASVS 5.0.0 and of the CIS PostgreSQL 16 Benchmark. Exit code: 0
    nothing, or nothing that is HIGH; 9 something that is, or is REFUSED.

    Example: fieldward check --deploy --json
    """
    if rules:
        print(rule_table())
        return
    if not deploy:
        refuse("check: expected --deploy, or --rules")
    settings = load_settings()
    if settings.is_embedded and not (settings.data_directory / "postgres").exists():
        found = run(check_deployment(settings, None, is_embedded=True))
    else:
        with reach(settings, may_join=True, only_looks=True) as reached:
            found = run(check_deployment(settings, reached.service, is_embedded=reached.embedded is not None))
    print(json.dumps({"findings": [shown(one) for one in found]}) if as_json else told(found))
    if any(one.rule.severity in _GRAVE for one in found):
        raise typer.Exit(FOUND)


def rule_table() -> str:
    """Return every rule as a table, as `docs/security/hardening.md` has it."""
    lines = ["| Finding | Severity | What is wrong | ASVS | CIS |", "| --- | --- | --- | --- | --- |"]
    for rule in RULES.values():
        numbers = (", ".join(rule.asvs) or "–", ", ".join(rule.cis) or "–")
        lines.append(f"| `{rule.name}` | {rule.severity} | {rule.title} | {numbers[0]} | {numbers[1]} |")
    return "\n".join(lines)


def shown(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it."""
    rule = finding.rule
    return {
        "name": rule.name,
        "severity": rule.severity,
        "where": finding.where,
        "variable": None if finding.variable is None else f"FIELDWARD_{finding.variable.upper()}",
        "title": rule.title,
        "do": rule.do,
        "asvs": list(rule.asvs),
        "cis": list(rule.cis),
    }


def told(findings: Sequence[Finding]) -> str:
    """Return the findings for people."""
    if not findings:
        return "Everything is as it must be."
    lines: list[str] = []
    for one in findings:
        said = shown(one)
        where = f"{said['variable']}: {one.where}" if said["variable"] else one.where
        controls = "; ".join(
            f"{name} {', '.join(numbers)}"
            for name, numbers in (("ASVS", one.rule.asvs), ("CIS", one.rule.cis))
            if numbers
        )
        lines.append(f"{one.rule.severity:<8}  {one.rule.name}")
        for text in (where, one.rule.title, f"Do: {one.rule.do}", f"Control: {controls}"):
            lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        lines.append("")
    counts = Counter(one.rule.severity for one in findings)
    lines.append(", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity]))
    return "\n".join(lines)
