"""`audit export`: a bundle by which others verify an organization's trail."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

import fieldward.verifier
from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services, trail_named
from fieldward.cli.progress import showing_progress
from fieldward.cli.written_file import writing
from resolvers.account import member_viewer
from resolvers.pace import Pace
from resolvers.trail import Actor
from resolvers.trail_export import Exported, export_trail, note_export

README = """\
The sealed audit trail of one organization, up to a signed head.

  entries.jsonl       one entry and all it changed in each line: exactly the bytes that are a leaf of the tree
  leaves.bin          the hash of each leaf, 32 bytes each, in the order of the lines
  heads.txt           every signed head (C2SP tlog-checkpoint), the last one over all lines
  tree-of-heads.json  the proof that the last head is in the tree over the heads of all organizations
  manifest.json       what this is, and by whom and when it was made
  verify.py           the verifier

To verify it, have the verifier and the verifier key from somebody whom you trust, and not from here; and give it every
head that you kept:

  python verify.py bundle.zip --key KEY --head kept.txt

By hand: the hash of a leaf is SHA-256 of a zero byte and the line without its end. Two subtrees are put together by
SHA-256 of a byte of one and both hashes (RFC 9162, section 2.1). The root over the first N lines stands, in base64, in
the third line of the signed head of N. A head is signed with Ed25519: the signed message is its first three lines, the
signature the 64 bytes behind the four of the key's id. The line of an entry whose time was over holds its hash, and the
entry, further below, by which the trail let go of it. Values that begin with \\x01 and are sealed stay so.
"""

Organization = Annotated[str, typer.Option(help="The organization's slug, or - for what was done in none.")]
Out = Annotated[Path, typer.Option(help="The file to write; it must not be there.", dir_okay=False)]
Acting = Annotated[
    str | None, typer.Option("--as", help="The address of the member in whose name it is; else the operator's.")
]
Reason = Annotated[str | None, typer.Option(help="Why, for the trail.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def export(
    organization: Organization, out: Out, acting: Acting = None, reason: Reason = None, as_json: AsJson = False
) -> None:
    """Export an organization's sealed trail as a bundle that anybody verifies without us.

    That it is exported stands in the trail before the bundle is there. Values that are encrypted stay so.

    Example: fieldward audit export --organization acme --out acme.zip --reason "Audit of 2026"
    """
    if out.exists():
        refuse(f"{out} is there already", code=1)

    async def work() -> Exported:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                organization_id = await trail_named(built, organization)
                actor = replace(operator(), organization_id=organization_id)
                if acting is not None:
                    viewer = await member_viewer(organization, email=acting)
                    actor = Actor(organization_id, actor.origin, viewer)
                at = await note_export(actor, reason)
                by = "operator" if actor.viewer is None else f"User:{actor.viewer.membership_id}"
                said = {"organization": organization, "exported_at": at.isoformat(), "exported_by": by}
                said |= {"fieldward": release()}
                with showing_progress(as_json) as told, writing_bundle(out) as archive:
                    return await export_trail(built.sealer, organization_id, archive, Pace(progress=told), said=said)

    exported = run(work())
    if as_json:
        print(json.dumps({"file": str(out), **asdict(exported)}))
        return
    print(f"{out}: {exported.size:,} entries of {exported.origin}, root {exported.root}")
    print(f"Verifier key: {exported.verifier_key}")


@contextmanager
def writing_bundle(out: Path) -> Iterator[zipfile.ZipFile]:
    """Yield an archive for a bundle, to which the page that explains it and the verifier are added."""
    with writing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        yield archive
        archive.writestr("README.txt", README)
        archive.write(Path(fieldward.verifier.__file__), "verify.py")


def release() -> str:
    """Return which Fieldward this is."""
    try:
        return version("fieldward")
    except PackageNotFoundError:
        return "unreleased"
