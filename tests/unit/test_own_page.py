"""What shows that a page of this server sent a request, and what cookies are read of it."""

import pytest

from auth.opaque_token import CookieToken
from fieldward.web.cookie import OwnPage, client_token, origin_of, session_token
from models.base import new_id
from resolvers.client_name import client_name_of
from schema.cookie import CLIENT, SESSION

PUBLIC = OwnPage.of("https://fieldward.example/")
LOCAL = OwnPage.of(None)


def said(**headers: str) -> dict[bytes, str]:
    """Return headers as they are read, ours among them."""
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return {b"fieldward-csrf": "1", **named}


@pytest.mark.parametrize(
    ("page", "headers"),
    [
        (PUBLIC, said(origin="https://fieldward.example", host="fieldward.example", sec_fetch_site="same-origin")),
        (PUBLIC, said(origin="https://FIELDWARD.example:443", host="internal:8000")),
        (PUBLIC, said(host="fieldward.example")),
        (LOCAL, said(origin="http://127.0.0.1:8000", host="127.0.0.1:8000")),
        (LOCAL, said(origin="http://localhost:8000", host="localhost:8000")),
        (LOCAL, said(origin="http://[::1]:8000", host="[::1]:8000")),
        (LOCAL, said()),
    ],
)
def test_a_page_of_this_server_is_one(page: OwnPage, headers: dict[bytes, str]) -> None:
    assert page.sent(headers)
    assert not page.sent({**headers, b"fieldward-csrf": ""})
    assert not page.sent({**headers, b"sec-fetch-site": "cross-site"})
    assert not page.sent({**headers, b"sec-fetch-site": "same-site"})


@pytest.mark.parametrize(
    ("page", "headers"),
    [
        (PUBLIC, said(origin="http://fieldward.example", host="fieldward.example")),
        (PUBLIC, said(origin="https://fieldward.example:8443", host="fieldward.example")),
        (PUBLIC, said(origin="https://fieldward.example.evil.example", host="fieldward.example")),
        (PUBLIC, said(origin="https://evil.example", host="evil.example")),
        (PUBLIC, said(origin="null", host="fieldward.example")),
        (PUBLIC, said(origin="", host="fieldward.example")),
        (PUBLIC, said(origin="http://127.0.0.1:8000", host="127.0.0.1:8000")),
        (LOCAL, said(origin="http://evil.example", host="evil.example")),
        (LOCAL, said(origin="http://127.0.0.1:9000", host="127.0.0.1:8000")),
        (LOCAL, said(origin="http://localhost:8000", host="127.0.0.1:8000")),
        (LOCAL, said(origin="http://127.0.0.1.evil.example", host="127.0.0.1.evil.example")),
        (LOCAL, said(origin="http://10.0.0.1", host="10.0.0.1")),
        (LOCAL, said(origin="http://x:99999", host="x:99999")),
        (LOCAL, said(origin="http://127.0.0.1:8000")),
    ],
)
def test_what_may_be_another_sites_page_is_none(page: OwnPage, headers: dict[bytes, str]) -> None:
    assert not page.sent(headers)


@pytest.mark.parametrize("url", ["", "null", "file:///x", "http://", "http://x:y", "http://[::1", "data:text/html,x"])
def test_what_has_no_origin_has_none(url: str) -> None:
    assert origin_of(url) is None


def test_of_the_cookies_those_are_read_that_there_is_one_of() -> None:
    token = CookieToken.new(new_id(), new_id())
    text = token.encode()

    assert session_token(f"other=1; {SESSION}={text}; {CLIENT}=fwc_x") == token
    assert client_token(f"other=1; {SESSION}={text}; {CLIENT}=fwc_x") == "fwc_x"
    for cookies in (None, "", text, f"{SESSION}", f"{SESSION}=", f"{SESSION}={text}x", f"x{SESSION}={text}"):
        assert session_token(cookies) is None
    assert session_token(f"{SESSION}={text}; {SESSION}={text}") is None
    assert session_token(f"fieldward={text}; Host-fieldward={text}") is None


def test_a_cookies_token_prints_no_secret() -> None:
    token = CookieToken.new(new_id(), new_id())

    assert token.secret.hex() not in repr(token)
    assert repr(token.secret) not in repr(token)


MOZILLA = "Mozilla/5.0"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"{MOZILLA} (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            f"{MOZILLA} (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
            " Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5"
            " Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            f"{MOZILLA} (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " CriOS/140.0 Mobile/15E148 Safari/604.1",
            "Chrome on iPhone",
        ),
        (
            f"{MOZILLA} (Linux; Android 15; SM-S931B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0"
            " Chrome/130.0.0.0 Mobile Safari/537.36",
            "Samsung Internet on Android",
        ),
        ("BosPhone/1.4 (Android 15)", "BosPhone on Android"),
        ("curl/8.5.0", "curl"),
        ("python-httpx/0.28.1", "python-httpx"),
        (f"{MOZILLA} (compatible)", None),
        ("<script>alert(1)</script>", None),
        ("", None),
        (None, None),
    ],
)
def test_a_client_is_called_by_what_it_says_of_itself(user_agent: str | None, name: str | None) -> None:
    assert client_name_of(user_agent) == name
