"""The jobs of a server process (`fieldward/background.py`)."""

from collections.abc import Mapping

from fieldward.background import Job
from models.encryption.keystore import KeyStore
from resolvers.location_rewrite import REWRITE_LOCATIONS, LocationRewrite


def build_jobs(store: KeyStore) -> Mapping[str, Job]:
    """Return the jobs, by their names.

    store: says which organizations there are: a connection of the service sees the rows of one at a time.
    """
    rewrite = LocationRewrite()

    async def rewrite_locations() -> bool:
        found = False
        for organization_id in await store.organizations():
            found |= await rewrite.step(organization_id)
        return found

    return {REWRITE_LOCATIONS: rewrite_locations}
