"""Passwords: Argon2id at the cost asked for, the same work for nobody, and what is refused before any work."""

import unicodedata
from datetime import timedelta

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerificationError
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from zxcvbn.matching import RANKED_DICTIONARIES

from auth.errors import Code
from auth.guessing import guess
from auth.password import (
    LEAST_MEMORY_KIB,
    Parameters,
    Passwords,
    UnacceptablePasswordError,
    Verdict,
    is_long,
    require_acceptable,
)

PHRASE = "correct horse battery staple"
CHEAP = Parameters.for_tests()

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=128)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(CHEAP)


def test_the_default_cost_is_the_second_recommended_option_of_rfc_9106() -> None:
    made = extract_parameters(Passwords(Parameters()).hash(PHRASE))

    assert made.type is Type.ID
    assert (made.version, made.memory_cost, made.time_cost, made.parallelism) == (0x13, 65536, 3, 4)
    assert (made.salt_len, made.hash_len) == (16, 32)


def test_the_right_password_is_ok_and_another_is_not(passwords: Passwords) -> None:
    encoded = passwords.hash(PHRASE)

    assert passwords.verify(encoded, PHRASE) == Verdict(ok=True, needs_rehash=False)
    assert passwords.verify(encoded, PHRASE + " ") == Verdict(ok=False, needs_rehash=False)


def test_each_hash_has_a_salt_of_its_own(passwords: Passwords) -> None:
    assert passwords.hash(PHRASE) != passwords.hash(PHRASE)


def test_a_hash_of_another_cost_is_to_be_made_anew_but_only_for_the_right_password(passwords: Passwords) -> None:
    old = Passwords(Parameters(memory_kib=16, time_cost=2, parallelism=1)).hash(PHRASE)

    assert passwords.verify(old, PHRASE) == Verdict(ok=True, needs_rehash=True)
    assert passwords.verify(old, "something else") == Verdict(ok=False, needs_rehash=False)


NO_HASH = {
    "no account": None,
    "empty": "",
    "not a hash": "correct horse battery staple",
    "not ASCII": "$argon2id$ü",
    "another scheme": "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
    "Argon2i of the right password": PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=Type.I).hash(
        PHRASE
    ),
}


@pytest.mark.parametrize("name", NO_HASH)
def test_what_is_no_argon2id_hash_costs_one_hash_of_the_same_parameters_and_is_not_ok(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checked: list[str | bytes] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, hash: str | bytes, password: str | bytes) -> bool:
        checked.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)

    verdict = passwords.verify(NO_HASH[name], PHRASE)

    assert verdict == Verdict(ok=False, needs_rehash=False)
    [only] = checked
    assert extract_parameters(str(only)) == extract_parameters(passwords.hash(PHRASE))


def test_a_damaged_hash_is_an_error_and_not_a_wrong_password(passwords: Passwords) -> None:
    with pytest.raises(VerificationError):
        passwords.verify("$argon2id$v=19$m=8,t=1,p=1$!!$!!", PHRASE)


def test_the_same_letters_composed_otherwise_are_the_same_password(passwords: Passwords) -> None:
    composed = "Größenwahn ist ärgerlich"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed

    assert passwords.verify(passwords.hash(composed), decomposed).ok
    assert passwords.verify(passwords.hash("ﬁeld ward ﬁeld"), "field ward field").ok


def test_a_password_beyond_128_characters_is_refused_before_any_work(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = passwords.hash("x" * 128)
    assert passwords.verify(encoded, "x" * 128).ok
    monkeypatch.setattr(PasswordHasher, "hash", _never)
    monkeypatch.setattr(PasswordHasher, "verify", _never)

    for refused in (
        lambda: passwords.hash("x" * 129),
        lambda: passwords.verify(encoded, "x" * 129),
        lambda: passwords.verify(None, "x" * 129),
        lambda: passwords.verify(None, "half a character \ud83d"),
    ):
        with pytest.raises(UnacceptablePasswordError) as error:
            refused()
        assert error.value.code is Code.INVALID_INPUT
        assert "xx" not in str(error.value)


LONGEST = ("väldigt långt ord " * 8)[:128]
KINDS = [
    "väldigt långt ord",
    "fifteen letters",
    "no digit no capital",
    "\t blanks \n around ",
    "🐟🦀🐌🪼🐙🦐🐳🪸🐬🦭🐚🦑🐡🦈🐠",
    "河流水质监测站取样记录备注一二",
    LONGEST,
]


@pytest.mark.parametrize("password", KINDS)
def test_fifteen_characters_of_any_kind_are_acceptable(password: str) -> None:
    require_acceptable(password)

    assert is_long(password)


def test_twelve_characters_are_enough_beside_a_second_factor_and_fourteen_are_not_without() -> None:
    for password in ("kelp vow trio", "kelp vow tri"):
        require_acceptable(password, has_second_factor=True)
        assert not is_long(password)
        with pytest.raises(UnacceptablePasswordError, match="at least 15 characters"):
            require_acceptable(password)
    with pytest.raises(UnacceptablePasswordError, match="at least 12 characters"):
        require_acceptable("kelp vow tr", has_second_factor=True)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "fourteen carps",
        "🐟🦀🐌🪼🐙🦐🐳🪸🐬🦭🐚🦑🐡🦈",
        LONGEST + "x",
        "\ufdfa",  # one character that normalizes to eighteen
        "e\u0301" * 14,  # 28 characters that normalize to fourteen
        "a password with \0 in it",
        "a password with \ud800 in it",
    ],
)
def test_a_password_too_short_too_long_or_no_text_is_not_acceptable(password: str) -> None:
    with pytest.raises(UnacceptablePasswordError) as error:
        require_acceptable(password)

    assert error.value.code is Code.INVALID_INPUT
    assert error.value.field == ("password",)


EASY = {
    "among the passwords that are most used": [
        "1234567890123456",
        "qwertyuiopasdfgh",
        "Password123456!",
        "Passw0rd1234567",
    ],
    "repeats itself": ["xxxxxxxxxxxxxxx", "x" * 128, "🐟" * 15, "trustno1trustno1", "abcabcabcabcabcabc"],
    "is a sequence": ["abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponml"],
    "row of keys": ["zxcvbnm,./zxcvbnm,."],
    "your name, your address or your organization": [
        "fieldward123456",
        "ada.acme.example1",
        "Ada Lovelace 1815",
        "LOVELACE-acme-water",
        "ada@acme.example!!!!",
    ],
}


@pytest.mark.parametrize(("why", "password"), [(why, one) for why, them in EASY.items() for one in them])
def test_a_password_that_is_easy_to_guess_is_refused_and_why_is_said(why: str, password: str) -> None:
    with pytest.raises(UnacceptablePasswordError, match="easy to guess") as error:
        require_acceptable(password, about=("ada@acme.example", "Ada Lovelace", "Acme Water"))

    assert why in error.value.message
    assert error.value.field == ("password",)


def test_a_name_is_no_secret_of_who_has_it_and_may_be_of_another() -> None:
    require_acceptable("Lovelace acme water ada", about=("bo@river.example", "Bo Diddley", "River Watch"))
    require_acceptable("Lovelace hums a gravel psalm", about=("ada@acme.example", "Ada Lovelace", "Acme Water"))


def test_what_is_known_of_one_person_is_not_kept_for_the_next() -> None:
    require_acceptable("Lovelace acme water ada")
    with pytest.raises(UnacceptablePasswordError):
        require_acceptable("Lovelace acme water ada", about=("Ada Lovelace", "Acme Water"))

    assert "lovelace" not in RANKED_DICTIONARIES.get("user_inputs", {})
    require_acceptable("Lovelace acme water ada")


@given(st.text("!$%(+0123456789<@[{|abeglostxz", min_size=15, max_size=128))
@hypothesis_settings(max_examples=20, deadline=timedelta(seconds=10))
def test_a_password_made_to_be_slow_to_judge_is_judged_all_the_same(password: str) -> None:
    judged = guess(password)

    assert judged.guesses > 0


def test_who_guesses_the_whole_guesses_each_part() -> None:
    hard, easy = "gravel psalm otter 7", "x" * 40

    assert guess(easy).is_easy
    assert not guess(hard + easy).is_easy
    assert not guess(easy + hard).is_easy


def test_a_cost_is_strong_from_where_owasp_says_so() -> None:
    assert Parameters().is_strong
    assert not CHEAP.is_strong
    for passes, memory_kib in LEAST_MEMORY_KIB.items():
        assert Parameters(memory_kib, passes, 1).is_strong
        assert not Parameters(memory_kib - 1, passes, 1).is_strong
    assert Parameters(7168, 10, 1).is_strong
    assert not Parameters(7167, 10, 1).is_strong


@given(TEXT, TEXT)
def test_two_passwords_match_exactly_when_their_normal_forms_do(one: str, other: str) -> None:
    passwords = Passwords(CHEAP)
    same = unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other)

    assert passwords.verify(passwords.hash(one), other).ok is same
    assert passwords.verify(passwords.hash(one), one).ok


def _never(*_: object, **__: object) -> None:
    raise AssertionError("This work should not have been done.")
