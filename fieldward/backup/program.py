"""PostgreSQL's own programs for backups: run as whoever runs us, with the password where nobody else sees it."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

from fieldward.backup.error import BackupError
from fieldward.embedded import Endpoint
from resolvers.key_rotation import Progress

_TOLD: Final = re.compile(rb"(\d+)/(\d+) kB")
_MOST_SAID: Final = 64 * 1024


async def run_program(
    program: Path,
    *arguments: str,
    endpoint: Endpoint | None = None,
    step: str = "",
    progress: Progress = lambda *_: None,
) -> None:
    """Run a program to its end; where it is cancelled, end it.

    endpoint: the server that it connects to. step: under what name it is told how many kB are done.

    Raises:
        BackupError: it failed. The message is what it said last.
    """
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    reached: list[str] = []
    if endpoint is not None:
        environment["PGPASSWORD"] = endpoint.password
        reached = [f"--host={endpoint.host}", f"--port={endpoint.port}", f"--username={endpoint.user}", "--no-password"]
    process = await asyncio.create_subprocess_exec(
        program,
        *reached,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    said = b""
    try:
        assert process.stderr is not None
        while piece := await process.stderr.read(4096):
            said = (said + piece)[-_MOST_SAID:]
            if step and (told := _TOLD.findall(piece)):
                done, total = told[-1]
                progress(step, int(done), int(total))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        lines = [line for line in re.split(r"[\r\n]+", said.decode(errors="replace")) if line.strip()]
        raise BackupError(f"{program.name} failed: {'; '.join(lines[-3:]) or f'it ended with {code}'}")
