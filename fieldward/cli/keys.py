"""`keys`: what keys there are, replacing them, and whether everything still opens."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.settings import Settings
from models.encryption.envelope import MOST_SEALS, SEALS_BEFORE_ROTATION, KeyPurpose
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keystore import KeyCount
from resolvers.key_rotation import (
    Rotation,
    prune_wrapping_keys,
    reseal,
    revoke_signing_keys,
    rewrap_data_keys,
    rotate_data_keys,
    rotate_signing_key,
)
from resolvers.key_verification import Verification, verify_values
from resolvers.services import Services

SETTLED_S = 60.0
"""How old the newest key-encryption key is before older ones are taken away."""
SOME_LEFT = 5
"""The exit code where values do not open."""

SHARE = 0.5
"""The part of the time that a rotation works, where nothing else is said."""

_NOT_OF_VALUES = (KeyPurpose.INDEX, KeyPurpose.SIGNING)

app = typer.Typer(help="What keys there are; replacing them; whether everything opens.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def _keys() -> None:
    """What keys there are; replacing them; whether everything opens."""


@app.command("status")
def status(
    as_json: AsJson = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Print metrics in the text format of Prometheus.")] = False,
) -> None:
    """Print what keys there are, what wraps them, how old they are and how often they have sealed.

    With --metrics for a collector of text files: how many keys there are in which state, and how old the oldest is.

    Example: fieldward keys status --json
    """

    if as_json and metrics:
        refuse("expected one of --json and --metrics, not both")

    async def work() -> dict[str, Any]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                counts = await built.keystore.counts()
                provider = built.keyring.provider
                return {
                    "provider": provider.name,
                    "wrapping_key": await provider.newest(),
                    "most_seals": MOST_SEALS,
                    "seals_before_rotation": SEALS_BEFORE_ROTATION,
                    "max_age_days": settings.data_key_max_age_days,
                    "signing_max_age_days": settings.signing_key_max_age_days,
                    "keys": [asdict(one) for one in counts],
                }

    found = run(work())
    if metrics:
        print(metrics_of([KeyCount(**one) for one in found["keys"]], datetime.now(UTC)), end="")
        return
    if as_json:
        print(json.dumps(found, default=str))
        return
    print(f"Key provider {found['provider']}, newest key-encryption key {found['wrapping_key']}")
    for one in found["keys"]:
        said = [f"{one['current']} current"]
        said += [f"oldest of {one['oldest']:%Y-%m-%d}"] if one["oldest"] else []
        said += [f"{one['retired']} retired ({one['left_over']} not emptied yet)"] if one["retired"] else []
        said += [f"{one['destroyed']} destroyed"] if one["destroyed"] else []
        said += [f"at most {one['most_seals']} seals of one key"] if one["most_seals"] else []
        is_newest = (one["provider"], one["wrapping_key"]) == (found["provider"], found["wrapping_key"])
        said += [] if is_newest else [f"wrapped by {one['provider']} {one['wrapping_key']}"]
        print(f"{one['owner_kind']:<13} {one['purpose']:<12} {', '.join(said)}")


def metrics_of(counts: Sequence[KeyCount], now: datetime) -> str:
    """Return metrics in the text format of Prometheus 0.0.4. Ages are seconds."""
    lines = ["# HELP fieldward_data_keys Data keys, by state.", "# TYPE fieldward_data_keys gauge"]
    for one in counts:
        labels = f'owner_kind="{one.owner_kind}",purpose="{one.purpose}",provider="{one.provider}"'
        labels += f',wrapping_key="{one.wrapping_key}"'
        states = ("current", "retired", "left_over", "destroyed")
        lines += [f'fieldward_data_keys{{{labels},state="{state}"}} {getattr(one, state)}' for state in states]
    lines += [
        "# HELP fieldward_data_key_seals Most seals of a current data key.",
        "# TYPE fieldward_data_key_seals gauge",
        f"fieldward_data_key_seals {max((one.most_seals for one in counts), default=0)}",
        "# HELP fieldward_data_key_age_seconds Age of the oldest current data key of values.",
        "# TYPE fieldward_data_key_age_seconds gauge",
    ]
    of_values = [one.oldest for one in counts if one.oldest and one.purpose not in _NOT_OF_VALUES]
    lines.append(f"fieldward_data_key_age_seconds {(now - min(of_values, default=now)).total_seconds():.0f}")
    lines += [
        "# HELP fieldward_signing_key_age_seconds Age of the newest key of access tokens.",
        "# TYPE fieldward_signing_key_age_seconds gauge",
    ]
    of_tokens = [one.oldest for one in counts if one.oldest and one.purpose == KeyPurpose.SIGNING]
    lines.append(f"fieldward_signing_key_age_seconds {(now - max(of_tokens, default=now)).total_seconds():.0f}")
    return "\n".join(lines) + "\n"


@app.command("rotate")
def rotate(
    kek: Annotated[bool, typer.Option("--kek", help="The key-encryption key, and not the data keys.")] = False,
    signing: Annotated[
        bool, typer.Option("--signing", help="The key that signs access tokens, and not the data keys.")
    ] = False,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="With --signing: destroy the old one now; every access token ends.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Begin another rotation although one is not through yet.")
    ] = False,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=1.0,
            help=f"The part of the time to work; the rest is left to requests.  [default: {SHARE}]",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replace keys while the service reads and writes. Where a rotation was interrupted, it goes on with that.

    Data keys are replaced at once; what lies under the old ones is sealed anew in batches. What a server still seals
    with an old key, until it hears of the new one, the servers' own schedule picks up. With --kek a new key-encryption
    key wraps all data keys; no value is touched.

    What is left over are old keys that a server may still have in memory: none is lost, and they are noted as emptied
    later, by the schedule or when this is called again. Until then it is the same rotation that goes on; --again
    begins the next.

    With --signing the key of access tokens is replaced: the new one signs two minutes later, the old one verifies until
    the last of its tokens has run out. With --revoke as well, for a key that somebody else may have, the old ones are
    destroyed: servers refuse what they signed within seconds, and clients refresh.

    Exit code 5 where a value does not open: it is named, and left as it is.

    Examples: fieldward keys rotate --share 0.25, fieldward keys rotate --kek, fieldward keys rotate --signing
    """
    if share is not None and (kek or signing):
        refuse("--share is for data keys: --kek and --signing touch no value")
    if kek and signing:
        refuse("expected one of --kek and --signing, not both")
    if revoke and not signing:
        refuse("--revoke goes with --signing")
    if again and signing:
        refuse("--again is for the other keys: --signing is through at once")
    share_of_time = SHARE if share is None else share

    async def work() -> dict[str, Any]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                if signing:
                    return await _rotate_signing(built, revoke)
                if kek:
                    return await _rotate_kek(built, again, as_json)
                return await _rotate_data(built, settings, again, share_of_time, as_json)

    _show(run(work()), as_json)


@app.command("prune")
def prune(as_json: AsJson = False) -> None:
    """Take key-encryption keys out of the key file that wrap nothing any more.

    Data backups stay readable; a backup of the keystore from before the rotation does not. Refused for a minute after a
    rotation: what another process has just wrapped by the key before must be in the keystore first.

    Example: fieldward keys prune
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                provider = built.keyring.provider
                if not isinstance(provider, FileKeyProvider):
                    refuse("only the file provider keeps key-encryption keys itself")
                if (age_s := provider.age_days * 86_400) < SETTLED_S:
                    refuse(f"the newest key-encryption key is {age_s:.0f} s old: wait for {SETTLED_S:.0f} s", code=1)
                return {"dropped": await prune_wrapping_keys(built.keystore, provider, operator())}

    _show(run(work()), as_json)


@app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Open every stored value, in the trail as well, and say which do not. Shows no value.

    Exit code 5 where one does not open.

    Example: fieldward keys verify --json
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                with showing_progress(as_json) as told:
                    found = await verify_values(built.keystore, progress=told)
                return _verified(found)

    _show(run(work()), as_json)


async def _rotate_kek(built: Services, again: bool, as_json: bool) -> dict[str, Any]:
    provider = built.keyring.provider
    newest = await provider.newest()
    counts = await built.keystore.counts()
    is_through = all(
        (one.provider, one.wrapping_key) == (provider.name, newest) for one in counts if one.current + one.retired
    )
    if is_through or again:
        newest = await provider.rotate()
    with showing_progress(as_json) as told:
        done = await rewrap_data_keys(built.keyring, built.keystore, operator(), progress=told)
    return {"wrapping_key": newest, "rewrapped": done}


async def _rotate_signing(built: Services, revoke: bool) -> dict[str, Any]:
    rotated = revoke_signing_keys if revoke else rotate_signing_key
    done = await rotated(built.keyring, built.keystore, operator())
    await built.signing_keys.look()
    return {"revoked" if revoke else "replaced": done, "published": sorted(built.signing_keys.verifying)}


async def _rotate_data(built: Services, settings: Settings, again: bool, share: float, as_json: bool) -> dict[str, Any]:
    begun = await built.keystore.left()
    with showing_progress(as_json) as told:
        replaced = 0
        if not begun or again:
            replaced = await rotate_data_keys(built.keyring, built.keystore, operator(), progress=told)
        result: Rotation = await reseal(
            built.keystore, operator(), share=share, lifetime_s=settings.data_key_lifetime_s, progress=told
        )
    return {
        "resumed": bool(begun) and not again,
        "replaced": replaced,
        "resealed": result.values,
        "left_over": result.left_over,
        "broken": [f"{table}.{column} of {row_id}" for table, column, row_id in result.broken],
    }


def _verified(found: Verification) -> dict[str, Any]:
    return {
        "opened": found.opened,
        "erased": found.erased,
        "broken": [f"{one.table}.{one.column} of {one.row_id}" for one in found.broken],
    }


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            # One to a line: there may be as many as there are values.
            shown = "".join(f"\n  {one}" for one in value) or " none" if isinstance(value, list) else f" {value}"
            print(f"{name.replace('_', ' ')}:{shown}")
    if result.get("broken"):
        raise typer.Exit(SOME_LEFT)
