"""What `docs/failover.md` and `deploy/patroni` say, held to each other and to the code."""

import re
from pathlib import Path
from string import Template
from typing import Any

import yaml

from fieldward.database import credentials_of
from fieldward.settings import Settings
from fieldward.web.endpoint import MAX_STALENESS
from models.cluster import Cluster, Server
from models.transaction import LONGEST_COMMIT_S
from resolvers.change import AGAIN_S
from schema.api import READ_FROM
from supply.lock import FAILOVER, python_packages

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "failover.md").read_text()
DEPLOYMENT = ROOT / "deploy" / "patroni"
NODE = {
    "NODE_NAME": "db1",
    "NODE_ADDRESS": "10.0.0.11",
    "ETCD_HOSTS": "10.0.0.11:2379,10.0.0.12:2379,10.0.0.13:2379",
    "CLUSTER_NETWORK": "10.0.0.0/24",
}


def configuration() -> dict[str, Any]:
    """Return Patroni's configuration of one machine."""
    made: dict[str, Any] = yaml.safe_load(Template((DEPLOYMENT / "patroni.yml").read_text()).substitute(NODE))
    return made


def test_the_page_shows_a_url_that_names_three_servers() -> None:
    url = next(iter(re.findall(r"FIELDWARD_DATABASE_URL=(\S+)", PAGE)))

    credentials = credentials_of(url)

    assert Cluster(credentials).servers == [Server(f"db{number}", 5432) for number in (1, 2, 3)]
    assert credentials["target_session_attrs"] == "read-write"
    assert credentials["dsn"] == "postgresql://?sslmode=verify-full&sslrootcert=%2Fetc%2Ffieldward%2Fca.crt"


def test_the_settings_that_the_page_explains_are_those_of_the_deployment() -> None:
    shared = configuration()["bootstrap"]["dcs"]
    explained = dict(re.findall(r"`(\w+): ([\w.]+)`", PAGE.partition("| Setting | Why |")[2].partition("\n\n")[0]))
    kept = {**shared, **shared["postgresql"]["parameters"], **configuration()["watchdog"]}

    assert {"synchronous_mode", "synchronous_mode_strict", "ttl", "loop_wait", "primary_start_timeout"} <= set(
        explained
    )
    for name, said in explained.items():
        if name != "watchdog":
            assert str(kept[name]).lower() == said, name


def test_a_primary_that_is_cut_off_has_stepped_down_before_another_follows() -> None:
    shared = configuration()["bootstrap"]["dcs"]

    assert shared["loop_wait"] + 2 * shared["retry_timeout"] < shared["ttl"]
    assert shared["synchronous_mode"] == "quorum"
    assert shared["synchronous_mode_strict"] is True


def test_the_deployment_lets_nobody_in_without_tls_and_a_password_of_their_own() -> None:
    made = configuration()

    assert {line.split()[0] for line in made["postgresql"]["pg_hba"]} == {"local", "hostssl"}
    assert {line.split()[-1] for line in made["postgresql"]["pg_hba"]} == {"scram-sha-256"}
    assert len({one["username"] for one in made["postgresql"]["authentication"].values()}) == 3
    assert {one["sslmode"] for one in made["postgresql"]["authentication"].values()} == {"verify-full"}
    assert made["etcd3"]["protocol"] == "https"
    for file in DEPLOYMENT.iterdir():
        assert not re.search(r"(?i)password[ \t]*[:=][ \t]*\S", file.read_text()), file


def test_the_page_names_the_files_of_the_deployment() -> None:
    assert {file.name for file in DEPLOYMENT.iterdir()} <= set(re.findall(r"`(?:[\w/]+/)?([\w.]+)`", PAGE))


def test_patroni_is_installed_by_hashes_from_what_the_drill_runs() -> None:
    assert f"pip install --require-hashes -r {FAILOVER.relative_to(ROOT).as_posix()}\n" in PAGE
    assert "patroni" in {one.name for one in python_packages(FAILOVER)}


def test_one_file_alone_is_filled_in_by_envsubst() -> None:
    named = {file.name for file in DEPLOYMENT.iterdir() if re.search(r"\$\{\w+\}", file.read_text())}

    assert named == {"patroni.yml"}
    assert "`patroni.yml` is filled in with\n`envsubst`" in PAGE


def test_the_page_says_how_long_and_how_often() -> None:
    assert f"no standby confirmed it within {LONGEST_COMMIT_S} seconds" in PAGE
    assert len(AGAIN_S) == 3
    assert "up to three times" in PAGE
    assert f"`FIELDWARD_LONGEST_STALENESS_S` ({Settings().longest_staleness_s:.0f} by default" in PAGE


def test_the_headers_of_the_page_are_those_of_the_code() -> None:
    named = {one.lower() for one in re.findall(r"Fieldward-[A-Z][\w-]+", PAGE)}

    assert named == {MAX_STALENESS.decode(), READ_FROM.decode()}
