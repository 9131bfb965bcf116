"""A container file, taken apart, and its steps done on this machine: `python -m tests.support.containerfile`.

Run as root in a mount namespace of its own, it builds each stage below a directory: what the machine has under `/usr`
stands for the image that the file begins with, with this Python in `/usr/local` as images of Python have it. Then it
runs what the file says is to be run, as the user that it names, without capabilities, with everything read-only but
the volumes, asks whether it is healthy, and tells what it found as JSON. What it can't do is done by nobody here:
nothing is pulled, there are no layers, and no seccomp profile of a runtime.
"""

import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

INSTRUCTIONS: Final = frozenset(
    {
        *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER"),
        *("VOLUME", "WORKDIR"),
    }
)
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_OF_PIP: Final = (
    "PIP_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_",
    "REQUESTS_",
)
_READY_WITHIN_S: Final = 120


@dataclass
class Stage:
    """A stage: its name, and its steps in their order."""

    name: str
    image: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str | None:
        """Return what the last step of a kind says."""
        return next((said for kind, said in reversed(self.steps) if kind == instruction), None)


def parsed(text: str) -> list[Stage]:
    """Return the stages of a container file. Raises `ValueError` for a step that is not known here."""
    stages: list[Stage] = []
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        kind, _, said = line.strip().partition(" ")
        if kind not in INSTRUCTIONS:
            raise ValueError(f"{kind} is not known here.")
        if kind == "FROM":
            image, _, name = said.partition(" AS ")
            stages.append(Stage(name.strip() or str(len(stages)), image.strip()))
        elif stages:
            stages[-1].steps.append((kind, said.strip()))
    return stages


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a file is left out of the context: of the patterns that match it, the last decides."""
    ignored = False
    parts = path.split("/")
    names = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for pattern in patterns:
        bare = pattern.removeprefix("!").removeprefix("**/")
        looked_at = [name.rpartition("/")[2] for name in names] if "**/" in pattern else names
        if any(fnmatch.fnmatchcase(name, bare) for name in looked_at):
            ignored = not pattern.startswith("!")
    return ignored


class Machine:
    """Builds stages below a directory, and runs what is built."""

    def __init__(self, work: Path, context: Path, ignored: Sequence[str]) -> None:
        self._work = work
        self._context = context
        self._ignored = ignored
        self._roots: dict[str, Path] = {}

    def build(self, stage: Stage) -> Path:
        """Do a stage's steps, and return its root."""
        root = self._roots[stage.name] = self._base(stage.name)
        environment, directory = {"PATH": _PATH}, "/"
        for kind, said in stage.steps:
            if kind == "WORKDIR":
                directory = said
                (root / said.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif kind == "ENV":
                name, _, value = said.partition("=")
                environment[name] = value
            elif kind == "COPY":
                self._copy(root, directory, said)
            elif kind == "RUN":
                self._run(root, directory, environment, said)
        return root

    def _base(self, name: str) -> Path:
        root = self._work / name
        root.mkdir()
        # A mount of its own, that can be made read-only by itself.
        _mount("--bind", root, root)
        for one in ("usr", "etc", "dev", "proc", "tmp", "root", "opt", "var/lib", "run"):
            (root / one).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            if Path("/", link).is_symlink():
                (root / link).symlink_to(Path("/", link).readlink())
        _mount("--bind", "/usr", root / "usr")
        _mount("-o", "remount,ro,bind", root / "usr")
        self._overlay(name, [Path("/etc")], root / "etc")
        self._overlay(f"{name}-python", [self._python()], root / "usr/local")
        program = root / "usr/local/bin/python"
        if not program.exists():
            program.symlink_to(Path(sys.base_prefix, "bin", "python3") if self._is_of_system else "python3")
        # A library that this Python has beside it is found there, and not that of the system's own.
        self._run(root, "/", {"PATH": _PATH}, "ldconfig")
        # Where packages lie on the machine, pip finds them.
        for lying in Path("/opt").iterdir():
            if lying.is_dir() and lying.name != "fieldward":
                (root / "opt" / lying.name).mkdir()
                _mount("--bind", "-o", "ro", lying, root / "opt" / lying.name)
        _mount("--rbind", "/dev", root / "dev")
        _mount("-t", "proc", "proc", root / "proc")
        return root

    @property
    def _is_of_system(self) -> bool:
        return sys.base_prefix == "/usr"

    def _python(self) -> Path:
        """Return where this Python is installed, which stands in the place of the image's `/usr/local`."""
        if not self._is_of_system:
            return Path(sys.base_prefix)
        empty = self._work / "empty" / "bin"
        empty.mkdir(parents=True, exist_ok=True)
        return empty.parent

    def _overlay(self, name: str, lower: Sequence[Path], target: Path) -> None:
        upper, working = self._work / f"{name}.upper", self._work / f"{name}.work"
        for one in (upper, working):
            one.mkdir()
        layers = ":".join(map(str, lower))
        _mount("-t", "overlay", "overlay", "-o", f"lowerdir={layers},upperdir={upper},workdir={working}", target)

    def _copy(self, root: Path, directory: str, said: str) -> None:
        words = shlex.split(said)
        begins_in, is_context = self._context, True
        if words[0].startswith("--from="):
            begins_in, is_context = self._roots[words.pop(0).removeprefix("--from=")], False
        *sources, to = words
        target = root / str(PurePosixPath(directory, to)).lstrip("/")
        for source in sources:
            path = begins_in / source.lstrip("/")
            if path.is_dir():
                ignore = self._ignoring if is_context else None
                shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)
            elif is_ignored(source, self._ignored) and is_context:
                raise ValueError(f"{source} is not in the context.")
            else:
                shutil.copy2(path, target / path.name if to.endswith("/") else target)

    def _ignoring(self, directory: str, names: list[str]) -> list[str]:
        within = Path(directory).relative_to(self._context).as_posix()
        return [name for name in names if is_ignored(f"{within}/{name}", self._ignored)]

    @staticmethod
    def _run(root: Path, directory: str, environment: Mapping[str, str], command: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if name.startswith(_OF_PIP)}
        done = subprocess.run(
            ["chroot", str(root), "/bin/sh", "-c", f"cd {shlex.quote(directory)} && {command}"],
            env={**environment, **inherited, "HOME": "/root"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ValueError(f"RUN {command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


@dataclass
class Running:
    """How what was built is run: as whom, where, with which environment. Nothing but the volumes can be written."""

    root: Path
    stage: Stage
    port: int

    def prepare(self) -> None:
        """Make everything read-only but the volumes, which belong to the user."""
        uid, gid = self._user
        for volume in json.loads(self.stage.last("VOLUME") or "[]"):
            _mount("-t", "tmpfs", "-o", f"mode=0700,uid={uid},gid={gid}", "tmpfs", self.root / volume.lstrip("/"))
        for one in ("", "etc", "usr/local"):
            _mount("-o", "remount,ro,bind", self.root / one)

    def start(self, command: Sequence[str], log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command as the image would, without any capability."""
        uid, gid = self._user
        environment = {"PATH": _PATH, "HOME": "/var/lib/fieldward"}
        for kind, said in self.stage.steps:
            if kind == "ENV":
                name, _, value = said.partition("=")
                environment[name] = value
        environment |= {
            "FIELDWARD_PORT": str(self.port),
            "FIELDWARD_HOST": "127.0.0.1",
            # What the image leaves to whoever runs it.
            "FIELDWARD_PUBLIC_URL": "https://fieldward.example",
            "FIELDWARD_TRUSTED_PROXIES": "127.0.0.1",
        }
        directory = shlex.quote(self.stage.last("WORKDIR") or "/")
        privileges = (
            f"setpriv --reuid={uid} --regid={gid} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
        )
        text = f"cd {directory} && exec {privileges} -- {shlex.join(command)}"
        output = subprocess.DEVNULL if log is None else log.open("wb")
        return subprocess.Popen(
            ["chroot", str(self.root), "/bin/sh", "-c", text], env=environment, stdout=output, stderr=subprocess.STDOUT
        )

    @property
    def _user(self) -> tuple[int, int]:
        uid, _, gid = (self.stage.last("USER") or "0:0").partition(":")
        return int(uid), int(gid)


def tried(containerfile: Path, context: Path, work: Path, port: int) -> dict[str, Any]:
    """Build, run, ask, and end; return what was found."""
    ignored = Path(f"{containerfile}.containerignore").read_text().split()
    stages = parsed(containerfile.read_text())
    machine = Machine(work, context, ignored)
    roots = [machine.build(stage) for stage in stages]
    final = stages[-1]
    running = Running(roots[-1], final, port)
    running.prepare()
    log = work / "log"
    service = running.start(
        [*json.loads(final.last("ENTRYPOINT") or "[]"), *json.loads(final.last("CMD") or "[]")], log
    )
    health = json.loads((final.last("HEALTHCHECK") or "").partition(" CMD ")[2])
    found: dict[str, Any] = {"before": running.start(health).wait(30)}
    try:
        end = time.monotonic() + _READY_WITHIN_S
        while running.start(health).wait(30) != 0:
            if service.poll() is not None or time.monotonic() > end:
                raise ValueError(f"It did not become healthy: {log.read_text()}")
            time.sleep(0.5)
        found["healthy"] = True
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            data=b'{"query": "{ viewer { role } }"}',
            headers={"content-type": "application/json", "x-forwarded-proto": "https"},
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310  (this machine)
            found["answer"] = json.loads(answer.read())
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{service.pid}/status").read_text().splitlines() if ":" in line
        )
        found["status"] = {name: status[name].split() for name in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs")}
        probe = "; ".join(f"touch /{place}/x" for place in ("opt/fieldward", "etc", "usr", "tmp", "var/lib/fieldward"))
        written = running.start(["/bin/sh", "-c", probe])
        found["may write"] = written.wait(30) == 0
        found["written"] = [
            place
            for place in ("opt/fieldward/x", "etc/x", "usr/x", "tmp/x", "var/lib/fieldward/x")
            if (roots[-1] / place).exists()
        ]
        found["unbuilt"] = [
            name
            for name in ("tests", "docs", ".git", "fieldward/pages/build")
            if (roots[-1] / "opt/fieldward" / name).exists()
        ]
    finally:
        service.terminate()
        found["code"] = service.wait(60)
    found["log"] = log.read_text()
    return found


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True, text=True)


if __name__ == "__main__":
    _file, _context, _work, _port = sys.argv[1:]
    print(json.dumps(tried(Path(_file), Path(_context), Path(_work), int(_port))))
