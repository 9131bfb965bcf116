"""What `fieldward check --deploy` finds in settings and files: each rule provoked once, and none where all is well."""

import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from fieldward.check.file import file_findings, process_findings
from fieldward.check.finding import Finding, Severity
from fieldward.check.rule import OF_FILES, OF_SETTINGS, RULES
from fieldward.check.secret import LEAST_PASSWORD, LEAST_TOKEN, weakness
from fieldward.check.setting import setting_findings
from fieldward.settings import Settings
from resolvers.alarm_channel import SECRET_PREFIX
from tests.support.certificate import Authority

HOST = "fieldward.example"
STRONG = "wq8-Zk3uTz_5bNfLr0xYvA7sJhGd2eKm"


def url(
    user: str = "fieldward_app",
    *,
    password: str = STRONG,
    host: str = "db.example",
    query: str = "?sslmode=verify-full",
) -> SecretStr:
    return SecretStr(f"postgres://{user}:{password}@{host}:5432/fieldward{query}")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.made()


@pytest.fixture
def good(tmp_path: Path, authority: Authority) -> dict[str, Any]:
    """Settings of an installation that is as it must be."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    certificate, key = authority.issue(tmp_path / "tls", [HOST])
    return {
        "mode": "production",
        "host": "0.0.0.0",  # noqa: S104  (it is never listened on)
        "data_directory": data,
        "tls_certificate": certificate,
        "tls_key": key,
        "public_url": f"https://{HOST}",
        "database_url": url(),
        "keystore_url": url(host="keys.example"),
        "key_provider": "vault-transit",
        "vault_url": "https://vault.example:8200",
        "vault_token": SecretStr("hvs.CAESIJ" + secrets.token_urlsafe(24)),
        "vault_key": "fieldward",
        "audit_name": "audit.fieldward.example",
        "audit_publish_url": "https://heads.example/",
        "alarm_webhook_url": "https://alarms.example/",
        "alarm_webhook_secret": SecretStr(SECRET_PREFIX + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "metrics_token": SecretStr(secrets.token_urlsafe(32)),
        "smtp_host": "mail.example",
        "smtp_from": "fieldward@fieldward.example",
        "smtp_username": "fieldward",
        "smtp_password": SecretStr(STRONG),
    }


def found_in(given: Mapping[str, Any]) -> list[Finding]:
    return [*setting_findings(Settings(**given)), *file_findings(Settings(**given))]


def test_nothing_is_found_where_all_is_well(good: dict[str, Any]) -> None:
    assert found_in(good) == []


def test_an_embedded_database_with_a_place_for_backups_is_as_it_must_be(good: dict[str, Any], tmp_path: Path) -> None:
    assert found_in({**good, "database_url": None, "keystore_url": None, "backup_directory": tmp_path}) == []


def test_the_database_s_own_authority_may_be_named_in_its_url(good: dict[str, Any]) -> None:
    named = url(host="db1.example,db2.example", query="?sslmode=verify-full&sslrootcert=/etc/fieldward/ca.crt")

    assert found_in({**good, "database_url": named}) == []


def test_a_proxy_that_speaks_tls_does_as_well(good: dict[str, Any]) -> None:
    without = {**good, "tls_certificate": None, "tls_key": None}

    assert {one.rule.name for one in found_in(without)} == {"plain-http"}
    assert found_in({**without, "trusted_proxies": "192.0.2.10, 2001:db8::10"}) == []


def test_an_authority_that_the_url_names_does_as_well(good: dict[str, Any]) -> None:
    named = url(query="?sslmode=verify-full&sslrootcert=/etc/fieldward/ca.crt")

    assert found_in({**good, "database_url": named}) == []


@pytest.mark.parametrize(
    ("rule", "variable", "changed"),
    [
        ("development-mode", "mode", {"mode": "development"}),
        ("plain-http", "tls_certificate", {"tls_certificate": None, "tls_key": None}),
        ("anybody-is-a-proxy", "trusted_proxies", {"trusted_proxies": "0.0.0.0/0"}),
        ("anybody-is-a-proxy", "trusted_proxies", {"trusted_proxies": "192.0.2.1, ::/0"}),
        ("anybody-is-a-proxy", "trusted_proxies", {"trusted_proxies": "10.0.0.0/8"}),
        ("public-url", "public_url", {"public_url": None}),
        (
            "public-url",
            "public_url",
            {"public_url": "http://localhost", "tls_certificate": None, "tls_key": None, "trusted_proxies": "::1"},
        ),
        ("weak-secret", "metrics_token", {"metrics_token": SecretStr("a short one of 19 c")}),
        ("weak-secret", "metrics_token", {"metrics_token": SecretStr("a" * 64)}),
        ("weak-secret", "metrics_token", {"metrics_token": SecretStr("changeme-changeme-changeme-changeme")}),
        ("weak-secret", "metrics_token", {"metrics_token": SecretStr("fieldward-metrics-token-0123456789")}),
        ("weak-secret", "smtp_password", {"smtp_password": SecretStr("password")}),
        ("weak-secret", "vault_token", {"vault_token": SecretStr("root")}),
        ("weak-secret", "database_url", {"database_url": url(password="fieldward")}),
        ("weak-secret", "database_url", {"database_url": url(password="postgrespostgrespostgres")}),
        ("weak-secret", "database_url", {"database_url": url(password="")}),
        ("weak-secret", "keystore_url", {"keystore_url": url(password="Summer2026Summer2026", host="keys.example")}),
        (
            "weak-secret",
            "database_url",
            {"database_url": url(host="", password="short", query="?host=/run/postgresql")},
        ),
        (
            "weak-secret",
            "alarm_webhook_secret",
            {"alarm_webhook_secret": SecretStr(SECRET_PREFIX + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")},
        ),
        (
            "weak-secret",
            "alarm_webhook_secret",
            {"alarm_webhook_secret": SecretStr(SECRET_PREFIX + "cGFzc3dvcmRwYXNzd29yZHBhc3N3b3Jk")},
        ),
        ("weak-password-hashes", "password_cost", {"password_cost": "test"}),
        ("unverified-database", "database_url", {"database_url": url(query="")}),
        ("unverified-database", "database_url", {"database_url": url(query="?sslmode=require")}),
        ("unverified-database", "database_url", {"database_url": url(query="?sslmode=verify-ca")}),
        ("unverified-database", "database_url", {"database_url": url(query="?sslrootcert=/etc/ca.crt")}),
        (
            "unverified-database",
            "database_url",
            {"database_url": url(query="?sslmode=require&sslrootcert=/etc/ca.crt")},
        ),
        ("unverified-database", "keystore_url", {"keystore_url": url(host="keys.example", query="?sslmode=prefer")}),
        ("unverified-database", "database_url", {"database_url": url(host="localhost,db2.example", query="")}),
        (
            "unverified-database",
            "database_url",
            {"database_url": url(query="?sslmode=verify-ca&sslrootcert=/etc/fieldward/ca.crt")},
        ),
        ("unverified-database", "database_url", {"database_url": url(query="?sslrootcert=/etc/fieldward/ca.crt")}),
        ("owner-served", "owner_database_url", {"owner_database_url": url("fieldward_owner")}),
        ("plain-provider", "vault_url", {"vault_url": "http://vault.example:8200"}),
        ("plain-provider", "aws_kms_endpoint_url", {"aws_kms_endpoint_url": "http://kms.example"}),
        ("plain-provider", "audit_bucket_endpoint_url", {"audit_bucket_endpoint_url": "http://s3.example"}),
        ("log-for-people", "log_format", {"log_format": "console"}),
        ("limits-measured", "limits", {"limits": "measure"}),
        ("no-bound", "rate_limit_requests", {"rate_limit_requests": 0}),
        ("no-bound", "rate_limit_cost", {"rate_limit_cost": 0}),
        ("no-bound", "anonymous_rate_limit_requests", {"anonymous_rate_limit_requests": 0}),
        ("no-bound", "anonymous_rate_limit_cost", {"anonymous_rate_limit_cost": 0}),
        ("no-bound", "concurrency", {"concurrency": 0}),
        ("no-bound", "anonymous_concurrency", {"anonymous_concurrency": 0}),
        ("no-alarm", "alarm_email_to", {"alarm_webhook_url": None}),
        ("no-mail", "smtp_host", {"smtp_host": None}),
        ("no-metrics", "metrics_token", {"metrics_token": None}),
        ("heads-stay-here", "audit_publish_url", {"audit_publish_url": None}),
        ("audit-name", "audit_name", {"audit_name": "fieldward"}),
        ("key-beside-data", "key_provider", {"key_provider": "file"}),
        ("keystore-beside-data", "keystore_url", {"keystore_url": url()}),
        ("no-backup", "backup_directory", {"database_url": None, "keystore_url": None}),
        (
            "no-backup",
            "backup_directory",
            {"database_url": None, "keystore_url": None, "backup_directory": Path("/nowhere/mounted")},
        ),
    ],
)
def test_a_setting_is_found(good: dict[str, Any], rule: str, variable: str, changed: dict[str, Any]) -> None:
    found = found_in({**good, **changed})

    assert [(one.rule.name, one.variable) for one in found] == [(rule, variable)]
    assert found[0].refusal.startswith(f"FIELDWARD_{variable.upper()}: ")
    for secret in (one for one in (*good.values(), *changed.values()) if isinstance(one, SecretStr)):
        assert secret.get_secret_value() not in found[0].refusal


def test_where_tls_keys_are_written_down_is_found(good: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/tmp/keys")  # noqa: S108  (nothing is written)

    (found,) = found_in(good)

    assert found.rule.name == "tls-keys-logged"
    assert found.refusal.startswith("SSLKEYLOGFILE")


def _open_directory(given: dict[str, Any], _: Authority) -> None:
    given["data_directory"].chmod(0o755)


def _open_key_file(given: dict[str, Any], _: Authority) -> None:
    made = given["data_directory"] / "key-encryption-key"
    made.write_bytes(bytes(32))
    made.chmod(0o640)


def _open_signing_key(given: dict[str, Any], _: Authority) -> None:
    made = given["data_directory"] / "audit-signing-key.pem"
    made.write_bytes(b"-")
    made.chmod(0o604)


def _open_tls_key(given: dict[str, Any], _: Authority) -> None:
    given["tls_key"].chmod(0o644)


def _someone_elses(given: dict[str, Any], _: Authority) -> None:
    os.chown(given["data_directory"], 12345, 12345)


def _demo(given: dict[str, Any], _: Authority) -> None:
    made = given["data_directory"] / "demo.json"
    made.touch(mode=0o600)


def _missing_certificate(given: dict[str, Any], _: Authority) -> None:
    given["tls_certificate"].unlink()


def _another_key(given: dict[str, Any], authority: Authority) -> None:
    _, other = authority.issue(given["data_directory"].parent / "other", [HOST])
    other.rename(given["tls_key"])


def _no_certificate(given: dict[str, Any], _: Authority) -> None:
    given["tls_certificate"].write_text("nothing of the kind")


def _issue(**how: Any) -> Callable[[dict[str, Any], Authority], None]:
    def work(given: dict[str, Any], authority: Authority) -> None:
        names = how.pop("names", [HOST])
        authority.issue(given["tls_certificate"].parent, names, **how)

    return work


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("open-file", _open_directory),
        ("open-file", _open_key_file),
        ("open-file", _open_signing_key),
        ("open-file", _open_tls_key),
        pytest.param(
            "open-file",
            _someone_elses,
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away"),
        ),
        ("demo-people", _demo),
        ("certificate-unusable", _missing_certificate),
        ("certificate-unusable", _another_key),
        ("certificate-unusable", _no_certificate),
        ("certificate-unusable", _issue(days=(-30, -1))),
        ("certificate-unusable", _issue(days=(1, 30))),
        ("certificate-runs-out", _issue(days=(-80, 10))),
        ("certificate-of-another", _issue(names=["elsewhere.example", "*.elsewhere.example"])),
        ("certificate-of-another", _issue(names=["*.example.fieldward.example"])),
        ("certificate-weak", _issue(key=rsa.generate_private_key(65537, 2048))),
        ("certificate-weak", _issue(key=ec.generate_private_key(ec.SECP224R1()))),
        ("certificate-self-signed", _issue(is_self_signed=True)),
    ],
)
def test_a_file_is_found(
    good: dict[str, Any], authority: Authority, rule: str, make: Callable[[dict[str, Any], Authority], None]
) -> None:
    make(good, authority)

    assert {one.rule.name for one in found_in(good)} == {rule}


def test_a_certificate_may_name_all_hosts_of_a_domain(good: dict[str, Any], authority: Authority) -> None:
    authority.issue(good["tls_certificate"].parent, ["*.example"])

    assert found_in(good) == []


def test_a_key_may_be_read_by_the_group_that_renews_it(good: dict[str, Any]) -> None:
    good["tls_key"].chmod(0o640)

    assert found_in(good) == []


def test_a_certificate_is_found_in_time(good: dict[str, Any]) -> None:
    later = datetime.now(UTC) + timedelta(days=80)

    assert [one.rule.name for one in file_findings(Settings(**good), now=later)] == ["certificate-runs-out"]


def test_the_process_and_its_machine_are_looked_at(tmp_path: Path) -> None:
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename\tType\tSize\tUsed\tPriority\n")
    assert [*process_findings(user_id=1000, swaps=swaps)] == []
    assert [one.rule.name for one in process_findings(user_id=0, swaps=swaps)] == ["runs-as-root"]
    with swaps.open("a") as lines:
        lines.write("/dev/zram0 partition 1 0 100\n/dev/dm-1 partition 1 0 1\n/swapfile file 1 0 -2\n")
    assert [one.where for one in process_findings(user_id=1000, swaps=swaps)] == ["/swapfile is swapped to"]
    assert [*process_findings(user_id=1000, swaps=tmp_path / "none")] == []


@pytest.mark.parametrize("least", [LEAST_TOKEN, LEAST_PASSWORD])
def test_what_is_drawn_at_random_is_a_secret(least: int) -> None:
    for _ in range(300):
        for drawn in (secrets.token_urlsafe(32), secrets.token_hex(32), secrets.token_urlsafe(24)):
            assert weakness(drawn, least=least) is None


@pytest.mark.parametrize(
    "secret",
    [
        *("", "x", "password", "correcthorse", "abcdefghijklmnopqrstuvwxyz0123456789", "qwertyuiopasdfghjklzxcvbnm"),
        *("changeme" * 8, "your-metrics-token-goes-here-please", "fieldward" * 5, "0" * 64, "1234567890" * 4),
        *("PasswordPasswordPasswordPassword", "deadbeef" * 8, "insecure-dev-only-do-not-use-1234"),
    ],
)
def test_what_stands_in_examples_is_none(secret: str) -> None:
    why = weakness(secret, least=LEAST_TOKEN)

    assert why is not None
    assert len(secret) < 8 or secret not in why


def test_every_rule_says_what_to_do_and_by_which_control() -> None:
    assert {one.name for one in (*OF_SETTINGS, *OF_FILES)} < set(RULES)
    for rule in RULES.values():
        assert rule.title.endswith(".")
        assert rule.do.endswith((".", ";"))
        assert rule.asvs or rule.cis, rule.name
        assert all(number.count(".") == 2 for number in rule.asvs), rule.name
    assert [one for one in RULES.values() if one.severity is Severity.REFUSED]
