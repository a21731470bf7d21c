"""Secrets hidden in the texts of others; how answers spell them is in test_client_refusals.py."""

import base64

import pytest

from dbt_pendo.secret import Secret, Secrets, secrets_of_url, without

TEXT = "k3y-0f3a9c1e?5b7d>"


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_hides_nothing(before, after, encode):
    encoded = encode(f"{before}{TEXT}{after}".encode()).decode()
    hidden = Secrets([Secret(TEXT, "KEY")]).hidden_in(f"Basic {encoded}")
    assert "***" in hidden
    # What is left tells of no more than one character at each end.
    assert len(hidden) <= len(f"Basic {encode(before.encode()).decode()}***{encode(after.encode()).decode()}") + 4


def test_a_short_secret_is_no_part_of_other_words():
    assert Secrets([Secret("abc", "KEY")]).hidden_in("abc, fabcric; a=abc&b") == "***, fabcric; a=***&b"


def test_the_longest_of_several_is_hidden_as_a_whole():
    secrets = Secrets([Secret("secret", "A"), Secret("secret-and-more", "B")])
    assert secrets.hidden_in("secret secret-and-more") == "*** ***"
    assert without(secrets, {"secret": ["a secret-and-more", 1, None]}) == {"***": ["a ***", 1, None]}
    assert Secrets().hidden_in("secret") == "secret"


def test_what_is_secret_in_a_url():
    for url, secrets in [
        ("http://user:p%40ss@proxy:80/?token=abc", {"user:p%40ss", "user:p@ss", "p%40ss", "p@ss", "abc"}),
        ("user:pass@proxy:80", {"user:pass", "pass"}),
        ("http://t0ken@proxy", {"t0ken"}),
        ("http://user:pa@s/s@proxy:none", {"user:pa@s/s", "pa@s/s"}),
        ("http://proxy:80", set()),
        ("", set()),
    ]:
        assert {one.reveal() for one in secrets_of_url(url, "HTTP_PROXY")} == secrets
