"""Flag, else environment, else vars, else default; and secrets that stay secret."""

import contextlib
import copy
import dataclasses
import json
import pprint
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.errors import ConfigError
from dbt_pendo.secret import Secret, Secrets
from dbt_pendo.settings import REGIONS, SETTINGS, default_project_dir, load_dbt_cloud, load_settings

URLS = ("https://flag.example", "https://env.example", "https://vars.example")
# Of each setting: as a flag gives it, in the environment, in vars, the default, and what the three mean.
VALUES: dict[str, tuple[Any, str, Any, Any, tuple[Any, Any, Any]]] = {
    "region": ("eu", "jpn", "au", "us", ("eu", "jpn", "au")),
    "api_url": (URLS[0], f"{URLS[1]}/", URLS[2], "https://app.pendo.io", URLS),
    "data_url": (URLS[0], URLS[1], f"{URLS[2]}//", "https://data.pendo.io", URLS),
    "sandbox": (True, "no", "Yes", None, (True, False, True)),
    "concurrency": (8, "16", 32, 4, (8, 16, 32)),
    "requests_per_second": ("2.5", "10", 20, None, (2.5, 10.0, 20.0)),
    "timeout": (1.5, "300", "120", None, (1.5, 300.0, 120.0)),
    "retries": ("1", "2", 3, 8, (1, 2, 3)),
    "retry_time": (10, "20.5", "30", 300.0, (10.0, 20.5, 30.0)),
    "segment_timeout": (10, "20.5", "30", 600.0, (10.0, 20.5, 30.0)),
    "max_attempts": (1, "2", "3", 5, (1, 2, 3)),
    "missing_retry": ("12", "6", 1.5, 24.0, (12.0, 6.0, 1.5)),
    "max_error_share": ("0.1", "0.2", 0.3, 0.5, (0.1, 0.2, 0.3)),
    "allow_http": (True, "no", "Yes", False, (True, False, True)),
    "schema": ("flagged", "environed", "varied", None, ("flagged", "environed", "varied")),
    "require_tests": (True, "no", True, True, (True, False, True)),
    "mask": ("email, name", "phone", ["email", " name "], (), (("email", "name"), ("phone",), ("email", "name"))),
    "refuse_tags": ("pii, gdpr", "pii", ["pii", "gdpr"], (), (("pii", "gdpr"), ("pii",), ("pii", "gdpr"))),
    "lock_interval": ("600", "900.5", 60, 30.0, (600.0, 900.5, 60.0)),
    "keep_runs": (1, "2", 3, 20, (1, 2, 3)),
    "owner": ("a flag", "a@example.com", "a project", None, ("a flag", "a@example.com", "a project")),
    "docs_url": (f"{URLS[0]}/docs/", f"{URLS[1]}/docs", URLS[2], None, (f"{URLS[0]}/docs", f"{URLS[1]}/docs", URLS[2])),
}
SECRET = "ab12-SECRET-9f.eu"
KEY, DBTS_KEY = "PENDO_INTEGRATION_KEY", "DBT_ENV_SECRET_PENDO_INTEGRATION_KEY"
URL_SETTINGS = pytest.mark.parametrize(
    ("name", "variable"), [("api_url", "PENDO_API_URL"), ("data_url", "PENDO_DATA_URL")]
)
IN_PROJECT = "dbt_project.yml: vars.dbt_pendo"
KNOWN_REGIONS = "Known regions: us, us1, eu, jpn, au."
KNOWN_SETTINGS = f"Known settings: {', '.join([*VALUES, 'alerts', 'targets', 'models', 'ledger'])}."


@pytest.mark.parametrize("name", SETTINGS)
def test_flag_then_environment_then_vars_then_default(name, monkeypatch):
    flag, environment, variable, default, (of_flag, of_environment, of_variable) = VALUES[name]
    flags, environ, project = {name: flag}, {SETTINGS[name].variable: environment}, {name: variable}
    no_flag, no_environ = {name: None}, {SETTINGS[name].variable: ""}
    for origins, wanted in [
        *((({}, {}, {}), default), (({}, project, {}), of_variable), (({}, project, environ), of_environment)),
        *(((flags, project, environ), of_flag), ((flags, {}, {}), of_flag), (({}, {}, environ), of_environment)),
        *(((no_flag, project, no_environ), of_variable), ((no_flag, no_flag, no_environ), default)),
    ]:
        found = getattr(load_settings(*origins), name)
        assert (found, type(found)) == (wanted, type(wanted))
    monkeypatch.setenv(SETTINGS[name].variable, environment)
    assert getattr(load_settings({}, {}), name) == of_environment


def test_only_what_is_here_as_a_whole_is_a_sandbox():
    here, there = "http://127.0.0.1:8080", "https://data.pendo.io"
    for flags, environ, is_sandbox in [
        ({"api_url": here}, {}, True),
        ({"api_url": "http://localhost:1/secret-path"}, {}, True),
        ({"api_url": here, "data_url": there}, {}, False),
        ({"data_url": here}, {}, False),
        ({"api_url": here}, {"PENDO_SANDBOX": "false"}, False),
    ]:
        pendo = load_settings(flags, {}, environ).pendo
        assert (pendo.sandbox, "secret-path" in str(pendo)) == (is_sandbox, False)


def test_a_region_has_its_hosts_and_events_follow_the_api_to_another():
    for flags, urls in [
        ({}, ("https://app.pendo.io", "https://data.pendo.io")),
        ({"region": "us1"}, ("https://us1.app.pendo.io", "https://us1.data.pendo.io")),
        *(({"region": r}, (f"https://app.{r}.pendo.io", f"https://data.{r}.pendo.io")) for r in ("eu", "jpn", "au")),
        ({"region": "eu", "api_url": "http://127.0.0.1:8080/"}, ("http://127.0.0.1:8080", "http://127.0.0.1:8080")),
        ({"region": "eu", "api_url": URLS[0], "data_url": URLS[1]}, (URLS[0], URLS[1])),
        ({"region": "eu", "data_url": URLS[1]}, ("https://app.eu.pendo.io", URLS[1])),
        # The region's own host changes nothing.
        ({"region": "us1", "api_url": "https://us1.app.pendo.io/"}, (*REGIONS["us1"],)),
    ]:
        settings = load_settings(flags, {}, {})
        assert (settings.api_url, settings.data_url) == urls
        assert set(REGIONS) == {"us", "us1", "eu", "jpn", "au"}


@pytest.mark.parametrize("name", ["api_url", "data_url"])
def test_a_url_is_taken_without_blanks_and_slashes_around(name):
    for url in [
        *("https://pendo.example", "HTTPS://Pendo.example", "https://proxy.example/pendo"),
        # This machine may be asked over plain http.
        *("http://localhost:8080", "http://LOCALHOST", "http://127.0.0.1", "http://127.1.2.3:80", "http://[::1]:8080"),
    ]:
        for given_url in (url, f"{url}/", f" {url}\n"):
            assert getattr(load_settings({name: given_url}, {}, {}), name) == url


@URL_SETTINGS
def test_what_is_no_url_of_a_host_is_refused(name, variable):
    for url in [
        *("eu", "app.pendo.io", "ftp://app.pendo.io", "file:///etc/passwd", "https://", "https:///api"),
        *("https://:8080", "https://pendo.example:port", "https://pendo.example:99999", "https://[::1"),
        *("https://pendo.example?key=1", "https://pendo.example#top", "https://pendo example"),
        "https://pendo.example\r\nX-Evil: 1",
    ]:
        with pytest.raises(ConfigError, match=f"^{variable}: .* is not the URL of a host") as caught:
            load_settings({}, {}, {variable: url})
        assert caught.value.exit_code == 2
        assert "https://app.pendo.io" in caught.value.hint


def test_credentials_in_a_url_are_refused_and_not_shown():
    for url in [
        *("https://ada:hunter2@pendo.example", "https://hunter2@pendo.example", "https://ada:hunter2@"),
        *("ftp://ada:hunter2@pendo.example", "ada:hunter2@pendo.example", "https://ada:hunt/er2@pendo.example"),
    ]:
        with pytest.raises(ConfigError, match=r"^PENDO_API_URL carries a user name or password\.") as caught:
            load_settings({}, {}, {"PENDO_API_URL": url})
        assert "hunt" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_a_config_error(url):
    with contextlib.suppress(ConfigError):
        assert re.fullmatch(r"(?i)https?://\S+", load_settings({"api_url": url}, {}, {}).api_url)


@URL_SETTINGS
def test_a_key_travels_over_plain_http_only_when_told_so(name, variable):
    for url in [
        *("http://pendo.example", "HTTP://pendo.example", "http://10.0.0.1:8080", "http://0.0.0.0"),
        *("http://127.0.0.1.pendo.example", "http://localhost.pendo.example", "http://[2001:db8::1]"),
    ]:
        with pytest.raises(ConfigError, match=f"^{variable}: .* would send the key over plain http") as caught:
            load_settings({}, {name: url}, {})
        assert caught.value.exit_code == 2
        assert "PENDO_ALLOW_HTTP=true" in caught.value.hint
        with pytest.raises(ConfigError, match="plain http"):
            load_settings({}, {name: url, "allow_http": True}, {"PENDO_ALLOW_HTTP": "false"})
        assert getattr(load_settings({}, {name: url}, {"PENDO_ALLOW_HTTP": "true"}), name) == url


def test_a_setting_that_makes_no_sense_says_where_it_stands():
    for origin, given_value, message, hint in [
        ("vars", {"regoin": "eu"}, f"{IN_PROJECT}.regoin: unknown setting.", "Did you mean `region`?"),
        ("vars", {"colour": "blue"}, f"{IN_PROJECT}.colour: unknown setting.", KNOWN_SETTINGS),
        # A secret in the project.
        ("vars", {"integration_key": SECRET}, f"{IN_PROJECT}.integration_key: unknown setting.", KNOWN_SETTINGS),
        ("flags", {"region": "mars"}, "PENDO_REGION: 'mars' is not a Pendo region.", KNOWN_REGIONS),
        ("flags", {"concurrency": "many"}, "--concurrency: 'many' is not a whole number.", ""),
        ("environ", {"PENDO_CONCURRENCY": "1.5"}, "PENDO_CONCURRENCY: '1.5' is not a whole number.", ""),
        ("vars", {"requests_per_second": "x"}, "vars.dbt_pendo.requests_per_second: 'x' is not a number.", ""),
        ("flags", {"requests_per_second": "x"}, "--requests-per-second: 'x' is not a number.", ""),
        ("vars", {"concurrency": True}, "vars.dbt_pendo.concurrency: True is not a whole number.", ""),
        ("flags", {"concurrency": 0}, "--concurrency: 0 must be above zero.", ""),
        ("environ", {"PENDO_RETRY_TIME": "0"}, "PENDO_RETRY_TIME: '0' must be above zero.", ""),
        ("flags", {"max_attempts": 0}, "--max-attempts: 0 must be above zero.", ""),
        ("flags", {"missing_retry": -1}, "--missing-retry: -1 must be zero or more.", ""),
        ("vars", {"max_error_share": "half"}, "vars.dbt_pendo.max_error_share: 'half' is not a number.", ""),
        ("environ", {"PENDO_ALLOW_HTTP": "maybe"}, "PENDO_ALLOW_HTTP: 'maybe' is neither true nor false.", ""),
        ("flags", {"retries": -1}, "--retries: -1 must be zero or more.", ""),
        *(("flags", {"timeout": odd}, f"--timeout: '{odd}' must be above zero.", "") for odd in ("-1", "inf", "nan")),
    ]:
        origins = [given_value if origin == one else {} for one in ("flags", "vars", "environ")]
        with pytest.raises(ConfigError) as caught:
            load_settings(*origins)
        assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, 2)
        assert SECRET not in str(caught.value)


def test_zero_and_what_is_overruled_do_no_harm():
    assert load_settings({"timeout": 5}, {"timeout": "long"}, {"PENDO_TIMEOUT": "longer"}).timeout == 5.0
    for name in ("retries", "missing_retry"):
        assert getattr(load_settings({}, {}, {f"PENDO_{name.upper()}": "0"}), name) == 0
        assert getattr(load_settings({name: 0}, {}, {f"PENDO_{name.upper()}": "3"}), name) == 0


def test_the_integration_key_comes_from_the_environment():
    for environ, variable in [
        *(({KEY: SECRET}, KEY), ({KEY: f" {SECRET}\n"}, KEY), ({KEY: SECRET, DBTS_KEY: "other"}, KEY)),
        *(({DBTS_KEY: SECRET}, DBTS_KEY), ({KEY: " ", DBTS_KEY: SECRET}, DBTS_KEY)),
    ]:
        key = load_settings({}, {}, environ).require_integration_key()
        assert (key.reveal(), key.variable) == (SECRET, variable)


def test_without_an_integration_key_the_message_says_where_to_get_one():
    for environ in ({}, {KEY: ""}, {KEY: "  "}, {f"{KEY}_OLD": "x"}, {"PENDO_TRACK_SECRET": "x"}):
        with pytest.raises(ConfigError, match="No Pendo integration key is set") as caught:
            load_settings({}, {}, environ).require_integration_key()
        assert caught.value.exit_code == 2
        assert {KEY in caught.value.hint, "write access" in caught.value.hint} == {True}


@pytest.mark.parametrize("prefix", ["", "DBT_ENV_SECRET_"])
def test_track_secrets_come_by_app_and_plain_ones_first(prefix):
    name = f"{prefix}PENDO_TRACK_SECRET"
    dbts = {f"DBT_ENV_SECRET_PENDO_TRACK_SECRET{app}": "other" for app in ("_WEB", "_EXTRA")}
    settings = load_settings({}, {}, {**dbts, name: "only", f"{name}_WEB": "of-web", f"{name}_my_app": "mine"})
    found = {app: settings.require_track_secret(app) for app in (None, "web", "WEB", "my_app", "extra")}
    assert [secret.reveal() for secret in found.values()] == ["only", "of-web", "of-web", "mine", "other"]
    assert found["web"].variable == f"{name}_WEB"


def test_a_missing_track_secret_names_the_variable_it_belongs_in():
    settings = load_settings({}, {}, {"PENDO_TRACK_SECRET_MOBILE": SECRET, KEY: SECRET})
    for app, ending in ((None, "SECRET."), ("web", "SECRET_WEB."), ("", "SECRET.")):
        with pytest.raises(ConfigError, match="No Track Event shared secret is set") as caught:
            settings.require_track_secret(app)
        assert (caught.value.exit_code, SECRET in str(caught.value)) == (2, False)
        assert caught.value.hint.endswith(f"PENDO_TRACK_{ending}")


@pytest.mark.parametrize("variable", [KEY, "DBT_ENV_SECRET_PENDO_TRACK_SECRET_WEB"])
def test_a_secret_that_no_header_can_carry_is_refused_without_being_shown(variable):
    for bad in ("\n", "\r\nX-Evil: 1", "\t", "\0", "\u2019", "\u00e9", "\ud800"):
        with pytest.raises(ConfigError, match=f"^{variable} holds a character that is in no key") as caught:
            load_settings({}, {}, {variable: f"hunter{bad}hunter"})
        assert "hunter" not in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "show",
    [
        *(repr, str, pprint.pformat, "{!s:>5}".format, "{!r}".format),
        lambda shown: repr({"key": [copy.copy(shown)]}),
        lambda shown: repr(vars(shown) if hasattr(shown, "__dict__") else dir(shown)),
        lambda shown: json.dumps(shown, default=str),
    ],
)
def test_nothing_that_is_shown_of_a_secret_or_of_settings_holds_it(show):
    settings = load_settings({}, {}, {"PENDO_INTEGRATION_KEY": SECRET, "PENDO_TRACK_SECRET_WEB": SECRET})
    for shown in (settings, settings.require_integration_key(), settings.track_secrets):
        assert SECRET not in show(shown)
        assert SECRET[:6] not in show(shown)
    assert SECRET not in show(dataclasses.asdict(settings))
    assert "PENDO_INTEGRATION_KEY" in repr(settings)


def test_looking_for_a_secret_takes_no_time_that_grows_with_the_powers_of_the_text():
    secret = Secrets([Secret("a&1<" * 10, "X")])
    for text in ("\\" * 20_000, "\\a&amp;1&lt;" * 2_000, "&#0" * 5_000, "%61" * 5_000):
        assert secret.hidden_in(text) == text.replace("\\a&amp;1&lt;" * 10, "***")


def test_the_project_is_the_nearest_folder_upwards_that_has_one(tmp_path, monkeypatch):
    marts = tmp_path / "models" / "marts"
    marts.mkdir(parents=True)
    monkeypatch.chdir(marts)
    assert default_project_dir() == marts
    (tmp_path / "dbt_project.yml").touch()
    for folder in (marts, tmp_path):
        monkeypatch.chdir(folder)
        assert default_project_dir() == tmp_path


def test_the_host_of_dbt_cloud_with_and_without_a_scheme():
    environ = {"DBT_CLOUD_ACCOUNT_ID": "7", "DBT_CLOUD_API_TOKEN": "token"}
    for host, url in [
        *((blank, "https://cloud.getdbt.com") for blank in ("", " ")),
        ("emea.dbt.com", "https://emea.dbt.com"),
        *((" https://ab123.us1.dbt.com/ ", "https://ab123.us1.dbt.com"), ("localhost:8443", "https://localhost:8443")),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ]:
        account = load_dbt_cloud({**environ, "DBT_CLOUD_HOST": host} if host else environ)
        assert (account.url, account.account_id, account.token.reveal()) == (url, 7, "token")
        assert "Secret(DBT_CLOUD_API_TOKEN)" in repr(account)
    # The plain token wins over the one that dbt Cloud hides.
    hidden = {"DBT_CLOUD_ACCOUNT_ID": "7", "DBT_ENV_SECRET_DBT_CLOUD_API_TOKEN": "hidden"}
    assert load_dbt_cloud(hidden).token.reveal() == "hidden"
    assert load_dbt_cloud({**hidden, **environ}).token.reveal() == "token"
