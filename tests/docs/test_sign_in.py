"""What `docs/security/sign-in.md` says of how people come in, held to the code."""

import re
from pathlib import Path

from auth.guessing import _ALWAYS
from auth.password import MAXIMUM_LENGTH, MINIMUM_LENGTH, MINIMUM_LENGTH_BESIDE_A_FACTOR
from fieldward.settings import Settings
from resolvers.throttle import _USUAL
from schema.api import build_api
from schema.mutation import mutation_of

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "security" / "sign-in.md").read_text()
OF_SIGNING_IN = re.compile(r"(device_)?session_|fresh_sign_in_|password_|throttle_")


def section(title: str) -> str:
    """Return what stands below a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_page_names_every_setting_of_signing_in() -> None:
    settings = [name for name in Settings.model_fields if OF_SIGNING_IN.match(name)]

    assert settings
    for name in settings:
        assert f"`FIELDWARD_{name.upper()}`" in PAGE, name


def test_the_lifetimes_of_the_page_are_those_of_the_settings() -> None:
    settings = Settings()

    told = dict(re.findall(r"`FIELDWARD_(\w+)`: (\d+) (?:hours|minutes|days)", section("Sessions")))
    assert {name: float(number) for name, number in told.items()} == {
        name.upper(): getattr(settings, name)
        for name in (
            "session_lifetime_h",
            "device_session_lifetime_days",
            "session_idle_min",
            "device_session_idle_days",
            "fresh_sign_in_min",
        )
    }


def test_the_page_names_the_words_of_the_context() -> None:
    for word in _ALWAYS:
        assert f"`{word}`" in section("Passwords")


def test_the_lengths_of_the_page_are_those_of_the_code() -> None:
    told = section("Passwords")

    assert f"At least {MINIMUM_LENGTH} characters; {MINIMUM_LENGTH_BESIDE_A_FACTOR} where" in told
    assert f"at most {MAXIMUM_LENGTH}" in told


def test_the_page_names_every_way_in() -> None:
    mutations = build_api()._schema.mutation_type
    assert mutations is not None
    declared = {name: mutation_of(one) for name, one in mutations.fields.items()}
    nobody_needed = [name for name, said in declared.items() if said is not None and said.notes_itself]

    assert "signIn" in nobody_needed
    for name in nobody_needed:
        assert f"`{name}`" in PAGE, name


def test_the_paces_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (account and network|network|account)\b.*\| (\d+) \| (\d+) s \|$", PAGE, re.MULTILINE)

    paces = (("account and network", _USUAL.pair), ("network", _USUAL.network), ("account", _USUAL.account))
    assert rows == [(name, str(pace.free), str(pace.longest_s)) for name, pace in paces]
