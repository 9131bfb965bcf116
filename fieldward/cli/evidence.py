"""`evidence`: what proves the measures, for an auditor, as a signed archive with figures of the running system."""

import asyncio
import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from fieldward.backup.job import ages_of
from fieldward.cli.audit_export import release
from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.cli.written_file import writing
from fieldward.measure import MEASURES
from fieldward.settings import Settings
from models.ledger.checkpoint import CheckpointError, HeadSigner, VerifierKey
from models.ledger.signed_statement import EVIDENCE_TYPE, StatementError, signed_statement, verified_statement
from models.ledger.tree import last_head
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.erasure import organization_named
from resolvers.evidence import installation_figures, note_evidence, organization_figures
from resolvers.pace import Pace
from resolvers.services import Services
from resolvers.trail import Actor
from resolvers.trail_verification import verify_trail

NOT_RIGHT: Final = 7
"""The exit code where the trail is not right, or an archive not what was signed."""
MOST_FILE_BYTES: Final = 64 * 2**20
MANIFEST: Final = "manifest.json"
_PACKINGS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_NO_ARCHIVE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)
"""What `zipfile` raises, each for another byte that is wrong."""
README: Final = """\
What proves the measures of an organization's data: figures of the running system, and no name or value of anybody's.

  measures.json      each measure: what is promised, what proves it, what is left to the operator, and its figures
  organization.json  what was counted of the organization, in one snapshot
  installation.json  keys, the database's role and settings, backups, standbys, and columns by class
  settings.json      how the service is set: numbers and choices; of the rest only whether it is set
  trail.json         what the verification of the audit trail found, and the newest signed head
  manifest.json      the SHA-256 and size of each of these, of what and when, signed (DSSE, Ed25519)

Have the verifier key from somebody whom you trust, and not from here:

  fieldward evidence check evidence.zip --key KEY
"""

app = typer.Typer(help="What proves the measures, for an auditor.", no_args_is_help=True)


@app.callback()
def _evidence() -> None:
    """What proves the measures, for an auditor."""


@app.command("collect")
def collect(
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    out: Annotated[Path, typer.Option(help="The file to write; it must not be there.", dir_okay=False)],
    acting: Annotated[
        str | None, typer.Option("--as", help="The address of the member in whose name it is; else the operator's.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the trail.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Count what the measures are judged by, verify the audit trail, and write all of it into a signed archive.

    The archive is written whatever was found; exit code 7 where the trail is not right.

    Example: fieldward evidence collect --organization acme --out evidence.zip --reason "Audit of 2026"
    """
    if out.exists():
        refuse(f"{out} is there already", code=1)
    settings = load_settings()

    async def work() -> tuple[VerifierKey, bool]:
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                organization_id = await organization_named(built, organization)
                actor = replace(operator(), organization_id=organization_id)
                if acting is not None:
                    viewer = await member_viewer(organization, email=acting)
                    actor = Actor(organization_id, actor.origin, viewer)
                at = await note_evidence(actor, reason)
                with showing_progress(as_json) as told:
                    files = await _gather(built, settings, actor, Pace(progress=told))
                said = {
                    "organization": organization,
                    "organization_id": str(organization_id),
                    "collected_at": at.isoformat(),
                    "fieldward": release(),
                }
                key = built.sealer.signer.verifier_key(_signer_of(built))
                write_archive(out, files, said, built.sealer.signer, _signer_of(built))
                return key, files["trail.json"]["verified"]

    key, is_right = run(work())
    if as_json:
        print(json.dumps({"file": str(out), "verifier_key": str(key), "trail_verified": is_right}))
    else:
        print(f"{out}: {len(MEASURES)} measures of {organization}; the trail is {'' if is_right else 'NOT '}verified")
        print(f"Verifier key: {key}")
    if not is_right:
        raise typer.Exit(NOT_RIGHT)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The archive.", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option(help="The installation's verifier key, had from elsewhere than the archive.")],
) -> None:
    """Verify that an archive is what was signed. Needs no database, and no settings.

    The key is that which `collect` and `audit key` print. Exit code 7 where the archive is not what it signed.

    Example: fieldward evidence check evidence.zip --key audit.example.org/evidence+1a2b3c4d+AQ…
    """
    try:
        verifier_key = VerifierKey.parse(key)
    except CheckpointError as error:
        refuse(f"--key: {error}")
    wrong = wrong_with(file, verifier_key)
    if wrong is not None:
        refuse(f"{file}: {wrong}", code=NOT_RIGHT)
    print(f"{file}: as it was signed by {verifier_key.name}")


def wrong_with(file: Path, key: VerifierKey) -> str | None:
    """Return what is wrong with an archive; None where it is what the key signed."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [one.filename for one in archive.infolist()]
            if len(set(names)) != len(names):
                return "a file is in it twice"
            if any(one.file_size > MOST_FILE_BYTES for one in archive.infolist()):
                return f"expected files of at most {MOST_FILE_BYTES} bytes"
            if any(one.compress_type not in _PACKINGS for one in archive.infolist()):
                return "expected files that are deflated, or stored as they are"
            held = {name: archive.read(name) for name in names}
    except _NO_ARCHIVE:
        return "expected an archive that is whole"
    manifest = held.pop(MANIFEST, None)
    if manifest is None:
        return f"expected {MANIFEST} in it"
    try:
        files = verified_statement(manifest.decode(errors="replace"), key, EVIDENCE_TYPE)["files"]
    except StatementError as error:
        return f"{MANIFEST}: {error}"
    for name in sorted({*files, *held}):
        if name not in held or name not in files or files[name] != _digest(held[name]):
            return f"{name} is not what was signed"
    return None


async def _gather(built: Services, settings: Settings, actor: Actor, pace: Pace) -> dict[str, dict[str, Any]]:
    """Return the files, by name, as what is written as JSON."""
    organization_id = actor.organization_id
    counted = await organization_figures(organization_id)
    installation = await installation_figures(built, await asyncio.to_thread(ages_of, settings))
    found = await verify_trail(built.sealer, built.keystore, operator(), pace, only=organization_id)
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        head = await last_head(connection, organization_id)
    trail = {
        "verified": found.is_right,
        "sealed_entries": found.sizes.get(organization_id, 0),
        "findings": [asdict(one) for one in found.findings],
        "more": found.more,
        "newest_head": head.checkpoint or None,
    }
    known = {**counted, **installation, "verification": trail}
    measures = [{**asdict(one), "figures": {name: known[name] for name in one.figures}} for one in MEASURES]
    return {
        "measures.json": {"measures": measures},
        "organization.json": dict(counted),
        "installation.json": dict(installation),
        "settings.json": shown_settings(settings),
        "trail.json": trail,
    }


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings by variable: numbers, choices and truths, and of anything else whether it is set.

    A text may be an address, a name or a secret.
    """
    shown: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        is_choice = "Literal" in str(field.annotation)
        is_plain = isinstance(value, bool | int | float) or (is_choice and isinstance(value, str))
        is_set = value is not None and not (isinstance(value, SecretStr) and not value.get_secret_value())
        shown[f"FIELDWARD_{name}".upper()] = value if is_plain else ("set" if is_set else "not set")
    return shown


def write_archive(out: Path, files: Mapping[str, Any], said: Mapping[str, Any], signer: HeadSigner, name: str) -> None:
    """Write files, what is said of them, and what the signer signs under the name, into an archive."""
    written = {name: _json(content) for name, content in files.items()}
    written["README.txt"] = README.encode()
    listed = {**said, "files": {name: _digest(content) for name, content in written.items()}}
    manifest = signed_statement(signer, name, EVIDENCE_TYPE, listed)
    with writing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**written, MANIFEST: manifest.encode()}.items():
            archive.writestr(name, content)


def _signer_of(built: Services) -> str:
    return f"{built.sealer.name}/evidence"


def _digest(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def _json(content: Any) -> bytes:
    def plain(value: Any) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return (json.dumps(content, default=plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
