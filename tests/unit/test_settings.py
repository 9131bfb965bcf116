"""Settings as they stand in the environment: what is empty there."""

import os

import pytest
from pydantic import SecretStr, ValidationError

from fieldward.check.setting import setting_findings
from fieldward.settings import Settings

OPTIONAL = sorted(name for name, field in Settings.model_fields.items() if field.default is None)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nothing is set."""
    for name in [name for name in os.environ if name.startswith("FIELDWARD_")]:
        monkeypatch.delenv(name)


def test_what_is_empty_and_has_no_default_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = Settings()
    for name in OPTIONAL:
        monkeypatch.setenv(f"FIELDWARD_{name.upper()}", "")

    assert len(OPTIONAL) > 25
    assert {name for name in OPTIONAL if getattr(Settings(), name) is not None} == set()
    assert Settings() == unset
    assert Settings(metrics_token=SecretStr("")).metrics_token is None


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - set(OPTIONAL)))
def test_what_is_empty_and_has_a_default_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Who sets the mode to nothing may have meant production; an empty path is the working directory."""
    monkeypatch.setenv(f"FIELDWARD_{name.upper()}", "")

    with pytest.raises(ValidationError, match="expected a value"):
        Settings()


def test_an_empty_url_of_the_owner_is_no_url_of_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    good = "postgres://fieldward_app:wq8-Zk3uTz_5bNfLr0xYvA7sJhGd2eKm@db.example/fieldward?sslmode=verify-full"
    for name in ("DATABASE_URL", "KEYSTORE_URL"):
        monkeypatch.setenv(f"FIELDWARD_{name}", good)
    for name in ("OWNER_DATABASE_URL", "OWNER_KEYSTORE_URL"):
        monkeypatch.setenv(f"FIELDWARD_{name}", "")

    settings = Settings(mode="production")

    assert "owner-served" not in {one.rule.name for one in setting_findings(settings)}
    assert not settings.is_embedded


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("BARMAN_SERVERS", one) for one in ("--all", "a b", "fieldward,;", "fieldward,-c", "../fieldward")),
        *(("BARMAN_COMMAND", one) for one in ("barman '", "  ")),
    ],
)
def test_what_barman_would_take_for_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    monkeypatch.setenv(f"FIELDWARD_{name}", wrong)

    with pytest.raises(ValidationError, match="expected"):
        Settings()


def test_each_of_barmans_servers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().barman_names == []
    monkeypatch.setenv("FIELDWARD_BARMAN_SERVERS", "fieldward, fieldward-keys,")

    assert Settings().barman_names == ["fieldward", "fieldward-keys"]
