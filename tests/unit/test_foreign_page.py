"""Which origins can be named, and what production says of them."""

import pytest

from fieldward.check.setting import setting_findings
from fieldward.settings import Settings
from fieldward.web.cookie import CSRF
from fieldward.web.foreign_page import ASKED_BY, ForeignPages
from fieldward.web.origin import origins_of


@pytest.mark.parametrize(
    "text",
    [
        "dashboard.example",
        "https://dashboard.example/",
        "https://dashboard.example/path",
        "https://*.example",
        "https://me@dashboard.example",
        "https://Dashboard.example",
        "ftp://dashboard.example",
        "null",
        "https://a.example https://b.example",
        "https://",
    ],
)
def test_what_is_no_origin_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="allowed_origins"):
        Settings(allowed_origins=text)


def test_origins_are_compared_letter_by_letter() -> None:
    pages = ForeignPages(origins_of(" https://a.example ,http://localhost:5173,"))

    assert pages.lets_in("https://a.example")
    assert pages.lets_in("http://localhost:5173")
    for other in ("", "null", "https://a.example:443", "http://a.example", "https://b.example", "\xff"):
        assert not pages.lets_in(other)
    assert not ForeignPages().lets_in("https://a.example")
    assert ForeignPages(["*"]).lets_in("https://b.example")


@pytest.mark.parametrize(
    ("text", "count"),
    [(None, 0), ("https://a.example", 0), ("*", 1), ("http://a.example,https://b.example", 1)],
)
def test_production_refuses_pages_of_anybody_and_pages_without_tls(text: str | None, count: int) -> None:
    found = [one for one in setting_findings(Settings(allowed_origins=text)) if one.rule.name == "any-origin"]

    assert len(found) == count
    assert all(one.rule.severity.name == "REFUSED" for one in found)


def test_no_other_page_may_say_that_it_is_ours() -> None:
    assert CSRF.decode() not in ASKED_BY
