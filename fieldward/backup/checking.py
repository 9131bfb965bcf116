"""Checking a restored database: rows against a census, the trail, the values, and what was published of the logs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from models.finding import Finding, FindingKind
from resolvers.key_rotation import Progress
from resolvers.key_verification import Verification, verify_values
from resolvers.log_restart import restart_log
from resolvers.pace import Pace
from resolvers.row_census import Census, Miscount, compare_census
from resolvers.services import Services
from resolvers.set_back import SetBack, logs_set_back
from resolvers.trail import Actor
from resolvers.trail_sealing import seal_everything
from resolvers.trail_verification import verify_trail

NOT_RIGHT = 7
SOME_LEFT = 5
SET_BACK = 6
"""The exit codes: a row or an entry is not what it must be; a value does not open; a log was set back."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what is wrong.

    rows: how many there are, of the tables that are counted; None where there was no census. entries: of the trail that
    are sealed. set_back: logs of which more was published than there is. restarted: those that were begun anew.
    """

    rows: int | None
    miscounts: Sequence[Miscount]
    entries: int
    findings: Sequence[Finding]
    more_findings: int
    values: Verification
    set_back: Sequence[SetBack]
    restarted: Sequence[str]

    @property
    def exit_code(self) -> int:
        """What a command ends with: 0 where all is as it must be."""
        if self.miscounts or self.findings:
            return NOT_RIGHT
        if self.values.broken:
            return SOME_LEFT
        return SET_BACK if self.set_back else 0

    @property
    def may_be_served(self) -> bool:
        """Whether what there is is as it must be. Of a log that was set back nothing is sealed until somebody says so,
        which is said beside a server as well."""
        return self.exit_code in (0, SET_BACK)

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "rows": self.rows,
            "miscounts": [str(one) for one in self.miscounts],
            "entries": self.entries,
            "trail_verified": not self.findings,
            "findings": [str(one) for one in self.findings],
            "more_findings": self.more_findings,
            "values_opened": self.values.opened,
            "values_erased": self.values.erased,
            "values_broken": [f"{one.table}.{one.column} of {one.row_id}" for one in self.values.broken],
            "set_back": [asdict(one) for one in self.set_back],
            "restarted": list(self.restarted),
        }


async def check_restored(
    services: Services,
    actor: Actor,
    census: Census | None,
    *,
    restart_reason: str | None = None,
    progress: Progress = lambda *_: None,
) -> Checked:
    """Check everything that can be checked. The trail is verified by itself: that more of it was published, and is
    lost, is told apart from that.

    What was entered just before the restored moment, and what the restoring enters itself, is sealed first, as a server
    would have: it may be looked at long after. Of a log that was set back nothing can be, and that is said by itself.

    restart_reason: begin those logs anew that were set back, and say so in them.

    Raises:
        UnavailableError: a database, the key provider, or what was published can't be had.
    """
    rows, miscounts = None, list[Miscount]()
    if census is not None:
        rows, miscounts = await compare_census(services.keystore, census, progress=progress)
    await seal_everything(services.sealer)
    set_back = await logs_set_back(services.sealer, services.keystore)
    alone = replace(services.sealer, guard=None)
    trail = await verify_trail(alone, services.keystore, actor, Pace(None, progress=progress))
    unsealable = {one.organization_id for one in set_back}
    findings = [
        one for one in trail.findings if one.kind is not FindingKind.UNSEALED or one.organization_id not in unsealable
    ]
    values = await verify_values(services.keystore, progress=progress)
    restarted: list[str] = []
    if restart_reason is not None and set_back:
        for one in set_back:
            if one.slug is not None:
                done = await restart_log(
                    services, actor, slug=None if one.slug == "-" else one.slug, reason=restart_reason
                )
                restarted.append(done.origin)
        set_back = await logs_set_back(services.sealer, services.keystore)
    return Checked(rows, miscounts, sum(trail.sizes.values()), findings, trail.more, values, set_back, restarted)


def _waits(finding: Finding, set_back: Sequence[SetBack]) -> bool:
    """Return whether an entry is not sealed because its log, or the tree over all heads, was set back."""
    return finding.kind is FindingKind.UNSEALED and any(
        one.slug is None or one.organization_id == finding.organization_id for one in set_back
    )
