"""How many erasures wait, for whoever watches the service: counts alone, of all organizations together."""

from dataclasses import dataclass
from datetime import datetime

from models.reading import OneStatement
from models.transaction import Tenant


@dataclass(frozen=True, slots=True)
class ErasureFigures:
    """open: requests that are not over. overdue: those of them that were confirmed, and should be done.

    next_due: when the first of them has to be done; None where there is none.
    """

    open: int
    overdue: int
    next_due: datetime | None


async def erasure_figures() -> ErasureFigures:
    """Return the figures of this moment. Raises `UnavailableError` where the database is away."""
    async with OneStatement(Tenant()) as connection:
        (row,) = await connection.fetch("select * from fieldward_erasures()")
    return ErasureFigures(row["open"], row["overdue"], row["next_due"])
