"""A stand-in for pg_verifybackup, which the wheel has and which does not start there: sizes of all files of a manifest,
and the CRC-32C of the small ones, which is enough to find what a test damages. It is called and ends as that is."""

import json
import sys
from pathlib import Path

SMALL = 600
POLYNOMIAL = 0x82F63B78


def main(arguments: list[str]) -> int:
    """Hold a directory against its manifest."""
    if arguments == ["--version"]:
        print("pg_verifybackup (PostgreSQL) 18.4")
        return 0
    files = Path(arguments[-1])
    for said in json.loads((files / "backup_manifest").read_bytes())["Files"]:
        path = files / said["Path"]
        if not path.is_file() or path.stat().st_size != said["Size"]:
            print(f'pg_verifybackup: error: "{said["Path"]}" has another size', file=sys.stderr)
            return 1
        if said["Size"] <= SMALL and crc32c(path.read_bytes()) != bytes.fromhex(said["Checksum"]):
            print(f'pg_verifybackup: error: checksum mismatch for file "{said["Path"]}"', file=sys.stderr)
            return 1
    print("backup successfully verified")
    return 0


def crc32c(data: bytes) -> bytes:
    """Return the CRC-32C of RFC 3720, as PostgreSQL writes it: its lowest byte first."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (POLYNOMIAL if found & 1 else 0)
    return (found ^ 0xFFFFFFFF).to_bytes(4, "little")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
