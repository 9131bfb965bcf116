"""No account is there that nobody asked for, and no password that others know."""

import re
from pathlib import Path

from fieldward.demo.load import new_passwords
from fieldward.demo.people import PEOPLE

MIGRATIONS = Path(__file__).resolve().parents[2] / "models" / "migrations"


def test_no_migration_makes_an_account() -> None:
    files = [one for one in MIGRATIONS.rglob("*") if one.suffix in {".py", ".sql"}]

    assert len(files) > 5
    for file in files:
        assert not re.search(r"insert\s+into\s+\"?(user_account|membership)\b", file.read_text(), re.IGNORECASE), file


def test_the_demo_draws_its_passwords_anew_each_time() -> None:
    once, again = new_passwords(), new_passwords()

    assert once.keys() == again.keys() == {person.email for person in PEOPLE}
    assert not set(once.values()) & set(again.values())
    assert len(set(once.values())) == len(once)
    assert all(len(password) >= 20 for password in once.values())
