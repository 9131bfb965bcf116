"""Three machines with etcd, Patroni and PostgreSQL, by the reference deployment of `deploy/patroni`.

What is different from it: PostgreSQL is that of the wheel, which is built without TLS; paths lie below the drill's own
directory; there is no watchdog. Patroni runs in an environment of its own, as the system user that the embedded
PostgreSQL runs as.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final

import httpx
import yaml

from bench.process import ROOT, Process, plain_environment
from drills.environment import programs_of
from drills.error import DrillError
from drills.namespace import Namespace, namespaces, why_not
from fieldward.embedded import EmbeddedPostgres, program_directories
from fieldward.embedded_roles import DATABASES, OWNER, SERVICE, SUPERUSER, setup_script
from fieldward.os_access import DatabaseUser, database_user, let_in, let_read

MEMBERS: Final = 3
READY_S: Final = 240
"""Seconds that the members are given to be one primary, one synchronous standby and one other, all up to date."""
_TEMPLATE: Final = ROOT / "deploy" / "patroni" / "patroni.yml"
_ETCD: Final = "etcd"


def why_no_cluster() -> str | None:
    """Return why there can be no cluster on this machine; None where there can."""
    if shutil.which(_ETCD) is None:
        return "there is no etcd (Debian: etcd-server)"
    return why_not()


@dataclass(frozen=True, slots=True)
class State:
    """What the members are, by their names, as Patroni tells. timeline: the primary's."""

    primary: str | None
    synchronous: Sequence[str]
    streaming: Sequence[str]
    timeline: int

    @property
    def is_whole(self) -> bool:
        """Whether there is a primary that all others follow, one of them synchronously."""
        return self.primary is not None and bool(self.synchronous) and len(self.streaming) == MEMBERS - 1


_NOTHING: Final = State(None, (), (), 0)


class Member:
    """One of the machines."""

    def __init__(self, name: str, place: Namespace, directory: Path) -> None:
        self.name = name
        self.place = place
        self.directory = directory
        self.configuration = directory / "patroni.json"

    def kill_postgres(self) -> None:
        """End every process of PostgreSQL by SIGKILL, and leave Patroni and etcd."""
        for pid in self.place.pids():
            if _program(pid) == "postgres":
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class PatroniCluster:
    """The machines, and what runs on them. Use `standing`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._members: Sequence[Member] = ()
        self._passwords = {role: secrets.token_urlsafe(24) for role in (SUPERUSER, OWNER, SERVICE)}
        self._secrets = {name: secrets.token_urlsafe(24) for name in ("REPLICATION", "REWIND")}
        self._postgres = EmbeddedPostgres(directory / "none")
        self._user: DatabaseUser | None = None
        self._programs = Path()
        self._started: list[Process] = []
        self._patroni: dict[str, Process] = {}

    @property
    def members(self) -> Sequence[Member]:
        """The machines, in no order of rank."""
        return self._members

    def member(self, name: str) -> Member:
        """Return the machine of that name."""
        return next(one for one in self._members if one.name == name)

    def url(self, role: str, database: str) -> str:
        """Return the URL by which a role reaches a database, on whichever machine it is."""
        hosts = ",".join(f"{one.place.address}:5432" for one in self._members)
        return f"postgres://{role}:{self._passwords[role]}@{hosts}/{database}?target_session_attrs=read-write"

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Make the machines, and have them run until the block ends; nothing is left of them then.

        Raises:
            DrillError: this machine can't have them, or they don't become a cluster.
        """
        reason = why_no_cluster()
        if reason is not None:
            raise DrillError(f"There can be no cluster here: {reason}.")
        self._programs = programs_of("patroni")
        self._user = database_user()
        self._let_in()
        with namespaces(MEMBERS) as places:
            self._members = [self._make(f"db{number}", place) for number, place in enumerate(places, 1)]
            try:
                for member in self._members:
                    self.start_etcd(member)
                for member in self._members:
                    self.start_patroni(member)
                self.wait_until_whole()
                self._make_roles()
                yield
            finally:
                for member in self._members:
                    member.place.kill()
                for process in self._started:
                    process.stop()

    def start_etcd(self, member: Member) -> None:
        """Start a machine's etcd."""
        address = member.place.address
        peers = ",".join(f"{one.name}=http://{one.place.address}:2380" for one in self._members)
        self._start(
            f"etcd of {member.name}",
            member,
            [
                *(str(shutil.which(_ETCD)), "--name", member.name, "--data-dir", str(member.directory / "etcd")),
                *(
                    "--listen-client-urls",
                    f"http://{address}:2379",
                    "--advertise-client-urls",
                    f"http://{address}:2379",
                ),
                *("--listen-peer-urls", f"http://{address}:2380"),
                *("--initial-advertise-peer-urls", f"http://{address}:2380"),
                *("--initial-cluster", peers, "--initial-cluster-state", "new"),
                *("--logger", "zap"),
            ],
            {},
        )

    def start_patroni(self, member: Member) -> None:
        """Start a machine's Patroni, which starts PostgreSQL."""
        member.configuration.write_text(json.dumps(self._configuration(member), indent=1))
        passwords = {
            "PATRONI_SUPERUSER_PASSWORD": self._passwords[SUPERUSER],
            "PATRONI_REPLICATION_PASSWORD": self._secrets["REPLICATION"],
            "PATRONI_REWIND_PASSWORD": self._secrets["REWIND"],
        }
        command = [str(self._programs / "python"), str(self._programs / "patroni"), str(member.configuration)]
        self._patroni[member.name] = self._start(f"Patroni of {member.name}", member, command, passwords)

    def stop_patroni(self, member: Member) -> None:
        """Ask a machine's Patroni to end: it stops PostgreSQL, and hands the cluster over."""
        self._patroni[member.name].stop(60)

    def state(self) -> State:
        """Return what the members are, by what the primary tells; nothing where none says that it is one.

        What the others know may be of a while ago. Of two that say so, the one on the newer timeline is.
        """
        told = [self._told_by(member) for member in self._members]
        return max((one for one in told if one is not None), key=lambda one: one.timeline, default=_NOTHING)

    @staticmethod
    def _told_by(member: Member) -> State | None:
        where = f"http://{member.place.address}:8008"
        try:
            if httpx.get(f"{where}/primary", timeout=1).status_code != 200:
                return None
            told = httpx.get(f"{where}/cluster", timeout=1).json()
        except (httpx.HTTPError, ValueError):
            return None
        found: Sequence[Mapping[str, Any]] = told.get("members", [])
        leader = next((one for one in found if one["role"] == "leader" and one["name"] == member.name), None)
        if leader is None or "timeline" not in leader:
            return None
        following = [one for one in found if one["state"] == "streaming" and one["timeline"] == leader["timeline"]]
        return State(
            member.name,
            [one["name"] for one in following if one["role"] == "quorum_standby"],
            [one["name"] for one in following if one.get("lag") in (0, "0", None)],
            int(leader["timeline"]),
        )

    def wait_until_whole(self, timeout_s: float = READY_S) -> State:
        """Return what the members are once all are up to date.

        Raises:
            DrillError: they are not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not (state := self.state()).is_whole:
            if time.monotonic() > deadline:
                raise DrillError(f"The cluster is not whole after {timeout_s:.0f} s: {state}\n{self._last_lines()}")
            time.sleep(0.5)
        return state

    def _make(self, name: str, place: Namespace) -> Member:
        directory = self._directory / name
        directory.mkdir(mode=0o700, parents=True)
        self._give(directory)
        return Member(name, place, directory)

    def _configuration(self, member: Member) -> dict[str, Any]:
        """Return the reference deployment's configuration, with the paths of the drill and without TLS."""
        network = member.place.address.rpartition(".")[0] + ".0/24"
        told = Template(_TEMPLATE.read_text()).substitute(
            NODE_NAME=member.name,
            NODE_ADDRESS=member.place.address,
            ETCD_HOSTS=",".join(f"{one.place.address}:2379" for one in self._members),
            CLUSTER_NETWORK=network,
        )
        made: dict[str, Any] = yaml.safe_load(told)
        for name in ("certfile", "keyfile", "cafile", "verify_client"):
            del made["restapi"][name]
        del made["ctl"], made["watchdog"]
        # No Barman streams here, and for nobody WAL would be kept.
        del made["bootstrap"]["dcs"]["slots"]
        for name in ("protocol", "cacert", "cert", "key"):
            del made["etcd3"][name]
        server = made["postgresql"]
        for one in server["authentication"].values():
            del one["sslmode"], one["sslrootcert"]
        server["parameters"] = {"unix_socket_directories": str(member.directory)}
        server["pg_hba"] = [line.replace("hostssl", "host") for line in server["pg_hba"]]
        server["data_dir"] = str(member.directory / "data")
        server["bin_dir"] = str(self._postgres.bin_directory)
        server["pgpass"] = str(member.directory / "pgpass")
        return made

    def _let_in(self) -> None:
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self._user is None:
            return
        base = Path(sys.base_prefix).resolve()
        for directory in (self._directory, self._programs, self._postgres.bin_directory, base):
            let_in(self._user, directory)
        for directory in (self._programs.parent, *program_directories(self._postgres.bin_directory), base):
            let_read(self._user, directory)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user.uid, self._user.gid)

    def _start(self, name: str, member: Member, command: Sequence[str], more: Mapping[str, str]) -> Process:
        as_user: list[str] = []
        if self._user is not None:
            # The configuration is written by root, and read by the one whom Patroni runs as.
            if member.configuration.exists():
                self._give(member.configuration)
            as_user = ["setpriv", f"--reuid={self._user.uid}", f"--regid={self._user.gid}", "--clear-groups"]
        log = self._directory / f"{name.replace(' ', '-')}-{len(self._started)}.log"
        started = Process.start(
            name,
            member.place.command(*as_user, *command),
            log=log,
            environment=plain_environment(**more, LC_ALL="C.UTF-8", HOME=str(member.directory)),
            directory=member.directory,
        )
        self._started.append(started)
        return started

    def _make_roles(self) -> None:
        primary = self.state().primary
        assert primary is not None
        done = subprocess.run(
            [
                *(str(self._postgres.bin_directory / "psql"), "--no-psqlrc", "--no-password", "--quiet"),
                *("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", f"--host={self.member(primary).place.address}"),
                *("--port=5432", f"--username={SUPERUSER}", "--dbname=postgres"),
            ],
            input=setup_script(self._passwords),
            env={"PATH": "/usr/bin:/bin", "PGPASSWORD": self._passwords[SUPERUSER]},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DrillError(f"The roles of {', '.join(DATABASES)} can't be made: {done.stderr.strip()}")

    def _last_lines(self) -> str:
        latest: dict[str, Process] = {process.name: process for process in self._started}
        return "\n".join(f"{name}:\n{process.last_lines(8)}" for name, process in latest.items())


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
