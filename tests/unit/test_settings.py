"""Flag, else environment, else vars, else default; and secrets that stay secret."""

from __future__ import annotations

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
from dbt_pendo.settings import REGIONS, SETTINGS, Settings, default_project_dir, load_dbt_cloud, load_settings

# Of each setting: as a flag gives it, in the environment, in vars, the default, and what the three mean.
VALUES: dict[str, tuple[Any, str, Any, Any, tuple[Any, Any, Any]]] = {
    "region": ("eu", "jpn", "au", "us", ("eu", "jpn", "au")),
    "api_url": (
        "https://flag.example",
        "https://env.example/",
        "https://vars.example",
        "https://app.pendo.io",
        ("https://flag.example", "https://env.example", "https://vars.example"),
    ),
    "data_url": (
        "https://flag.example",
        "https://env.example",
        "https://vars.example//",
        "https://data.pendo.io",
        ("https://flag.example", "https://env.example", "https://vars.example"),
    ),
    "concurrency": (8, "16", 32, 4, (8, 16, 32)),
    "requests_per_second": ("2.5", "10", 20, None, (2.5, 10.0, 20.0)),
    "timeout": (1.5, "300", "120", 60.0, (1.5, 300.0, 120.0)),
    "retries": ("1", "2", 3, 8, (1, 2, 3)),
    "retry_time": (10, "20.5", "30", 300.0, (10.0, 20.5, 30.0)),
    "max_attempts": (1, "2", "3", 5, (1, 2, 3)),
    "missing_retry": ("12", "6", 1.5, 24.0, (12.0, 6.0, 1.5)),
    "max_error_share": ("0.1", "0.2", 0.3, 0.5, (0.1, 0.2, 0.3)),
    "allow_http": (True, "no", "Yes", False, (True, False, True)),
    "schema": ("flagged", "environed", "varied", None, ("flagged", "environed", "varied")),
    "require_tests": (False, "yes", False, False, (False, True, False)),
    "mask": ("email, name", "phone", ["email", " name "], (), (("email", "name"), ("phone",), ("email", "name"))),
    "keep_runs": (1, "2", 3, 20, (1, 2, 3)),
    "owner": ("a flag", "a@example.com", "a project", None, ("a flag", "a@example.com", "a project")),
}
SECRET = "ab12-SECRET-9f.eu"
KNOWN_SETTINGS = f"Known settings: {', '.join([*VALUES, 'alerts', 'models', 'ledger'])}."


def test_every_setting_is_covered_here():
    assert VALUES.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", VALUES)
def test_flag_then_environment_then_vars_then_default(name):
    flag, environment, variable, default, (of_flag, of_environment, of_variable) = VALUES[name]
    flags, environ, project = {name: flag}, {SETTINGS[name].variable: environment}, {name: variable}

    def loaded(*origins: Any) -> Any:
        return getattr(load_settings(*origins), name)

    assert loaded({}, {}, {}) == default
    assert loaded({}, project, {}) == of_variable
    assert loaded({}, project, environ) == of_environment
    assert loaded(flags, project, environ) == of_flag
    assert loaded(flags, {}, {}) == of_flag
    assert type(loaded(flags, {}, {})) is type(loaded({}, project, {})) is type(loaded({}, {}, environ))


@pytest.mark.parametrize("name", VALUES)
def test_what_is_not_given_gives_way(name):
    variable, default = VALUES[name][2:4]
    not_given = [({name: None}, {SETTINGS[name].variable: ""}), ({}, {})]
    for flags, environ in not_given:
        assert getattr(load_settings(flags, {name: variable}, environ), name) == VALUES[name][4][2]
        assert getattr(load_settings(flags, {name: None}, environ), name) == default


def test_the_defaults_are_those_of_the_contract():
    assert load_settings({}, {}, {}) == Settings(
        region="us",
        api_url="https://app.pendo.io",
        data_url="https://data.pendo.io",
        concurrency=4,
        requests_per_second=None,
        timeout=60.0,
        retries=8,
        retry_time=300.0,
        max_attempts=5,
        missing_retry=24.0,
        max_error_share=0.5,
        allow_http=False,
        schema=None,
        integration_key=None,
        track_secrets={},
    )


# Regions and URLs.


@pytest.mark.parametrize(
    ("region", "api_url", "data_url"),
    [
        ("us", "https://app.pendo.io", "https://data.pendo.io"),
        ("us1", "https://us1.app.pendo.io", "https://us1.data.pendo.io"),
        ("eu", "https://app.eu.pendo.io", "https://data.eu.pendo.io"),
        ("jpn", "https://app.jpn.pendo.io", "https://data.jpn.pendo.io"),
        ("au", "https://app.au.pendo.io", "https://data.au.pendo.io"),
    ],
)
def test_a_region_has_its_hosts(region, api_url, data_url):
    settings = load_settings({}, {}, {"PENDO_REGION": region})
    assert (settings.api_url, settings.data_url) == (api_url, data_url)
    assert set(REGIONS) == {"us", "us1", "eu", "jpn", "au"}


def test_events_follow_the_api_to_another_host_unless_told_otherwise():
    settings = load_settings({"region": "eu"}, {}, {"PENDO_API_URL": "http://127.0.0.1:8080/"})
    assert (settings.api_url, settings.data_url) == ("http://127.0.0.1:8080", "http://127.0.0.1:8080")

    settings = load_settings({}, {"data_url": "https://data.example"}, {"PENDO_API_URL": "http://127.0.0.1:8080/"})
    assert (settings.api_url, settings.data_url) == ("http://127.0.0.1:8080", "https://data.example")


def test_naming_the_regions_own_host_changes_nothing():
    settings = load_settings({"region": "eu", "api_url": "https://app.eu.pendo.io/"}, {}, {})
    assert (settings.api_url, settings.data_url) == ("https://app.eu.pendo.io", "https://data.eu.pendo.io")


def test_another_data_host_leaves_the_api_where_it_is():
    settings = load_settings({"region": "au", "data_url": "https://data.example"}, {}, {})
    assert (settings.api_url, settings.data_url) == ("https://app.au.pendo.io", "https://data.example")


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        pytest.param("https://pendo.example", "https://pendo.example", id="host"),
        pytest.param("https://pendo.example/", "https://pendo.example", id="slash"),
        pytest.param(" https://pendo.example\n", "https://pendo.example", id="blanks around"),
        pytest.param("https://proxy.example/pendo/", "https://proxy.example/pendo", id="path"),
        pytest.param("http://127.0.0.1:8080", "http://127.0.0.1:8080", id="port"),
        pytest.param("http://[::1]:8080", "http://[::1]:8080", id="IPv6"),
        pytest.param("HTTPS://Pendo.example", "HTTPS://Pendo.example", id="upper case"),
    ],
)
@pytest.mark.parametrize("name", ["api_url", "data_url"])
def test_a_url_is_taken(name, given_url, url):
    assert getattr(load_settings({name: given_url}, {}, {}), name) == url


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("app.pendo.io", id="no scheme"),
        pytest.param("ftp://app.pendo.io", id="another scheme"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("https://", id="no host"),
        pytest.param("https:///api", id="a path alone"),
        pytest.param("https://:8080", id="a port alone"),
        pytest.param("https://pendo.example:port", id="a port that is no number"),
        pytest.param("https://pendo.example:99999", id="a port beyond all"),
        pytest.param("https://[::1", id="half an address"),
        pytest.param("https://pendo.example?key=1", id="a query"),
        pytest.param("https://pendo.example#top", id="a fragment"),
        pytest.param("https://pendo example", id="a blank"),
        pytest.param("https://pendo.example\r\nX-Evil: 1", id="a line break"),
        pytest.param("eu", id="a region"),
    ],
)
@pytest.mark.parametrize(("name", "variable"), [("api_url", "PENDO_API_URL"), ("data_url", "PENDO_DATA_URL")])
def test_what_is_no_url_of_a_host_is_refused(name, variable, url):
    with pytest.raises(ConfigError, match=f"^{variable}: .* is not the URL of a host") as caught:
        load_settings({}, {}, {variable: url})
    assert caught.value.exit_code == 2
    assert "https://app.pendo.io" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:hunter2@pendo.example",
        "https://hunter2@pendo.example",
        "https://ada:hunter2@",
        "ftp://ada:hunter2@pendo.example",
        "ada:hunter2@pendo.example",
        "https://ada:hunt/er2@pendo.example",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_shown(url):
    with pytest.raises(ConfigError, match=r"^PENDO_API_URL carries a user name or password\.") as caught:
        load_settings({}, {}, {"PENDO_API_URL": url})
    assert "hunt" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_a_config_error(url):
    try:
        settings = load_settings({"api_url": url}, {}, {})
    except ConfigError:
        return
    assert re.fullmatch(r"(?i)https?://\S+", settings.api_url)


@pytest.mark.parametrize(
    "url",
    [
        "http://pendo.example",
        "HTTP://pendo.example",
        "http://10.0.0.1:8080",
        "http://0.0.0.0",
        "http://127.0.0.1.pendo.example",
        "http://localhost.pendo.example",
        "http://[2001:db8::1]",
    ],
)
@pytest.mark.parametrize(("name", "variable"), [("api_url", "PENDO_API_URL"), ("data_url", "PENDO_DATA_URL")])
def test_a_key_travels_over_plain_http_only_when_told_so(name, variable, url):
    with pytest.raises(ConfigError, match=f"^{variable}: .* would send the key over plain http") as caught:
        load_settings({}, {name: url}, {})
    assert caught.value.exit_code == 2
    assert "PENDO_ALLOW_HTTP=true" in caught.value.hint
    with pytest.raises(ConfigError, match="plain http"):
        load_settings({}, {name: url, "allow_http": True}, {"PENDO_ALLOW_HTTP": "false"})
    assert getattr(load_settings({}, {name: url}, {"PENDO_ALLOW_HTTP": "true"}), name) == url


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://LOCALHOST", "http://127.0.0.1", "http://127.1.2.3:80", "http://[::1]"]
)
def test_this_machine_may_be_asked_over_plain_http(url):
    settings = load_settings({"api_url": url}, {}, {})
    assert (settings.api_url, settings.data_url) == (url, url)


# What makes no sense.


@pytest.mark.parametrize(
    ("origins", "message", "hint"),
    [
        pytest.param(
            ({}, {"regoin": "eu"}, {}),
            "dbt_project.yml: vars.dbt_pendo.regoin: unknown setting.",
            "Did you mean `region`?",
            id="misspelt",
        ),
        pytest.param(
            ({}, {"colour": "blue"}, {}),
            "dbt_project.yml: vars.dbt_pendo.colour: unknown setting.",
            KNOWN_SETTINGS,
            id="unknown",
        ),
        pytest.param(
            ({}, {"integration_key": SECRET}, {}),
            "dbt_project.yml: vars.dbt_pendo.integration_key: unknown setting.",
            KNOWN_SETTINGS,
            id="a secret in the project",
        ),
        pytest.param(
            ({"region": "mars"}, {}, {}),
            "PENDO_REGION: 'mars' is not a Pendo region.",
            "Known regions: us, us1, eu, jpn, au.",
            id="region",
        ),
        pytest.param(({"concurrency": "many"}, {}, {}), "--concurrency: 'many' is not a whole number.", "", id="flag"),
        pytest.param(
            ({}, {}, {"PENDO_CONCURRENCY": "1.5"}),
            "PENDO_CONCURRENCY: '1.5' is not a whole number.",
            "",
            id="environment",
        ),
        pytest.param(
            ({}, {"requests_per_second": "fast"}, {}),
            "vars.dbt_pendo.requests_per_second: 'fast' is not a number.",
            "",
            id="vars",
        ),
        pytest.param(
            ({"requests_per_second": "x"}, {}, {}), "--requests-per-second: 'x' is not a number.", "", id="dashes"
        ),
        pytest.param(
            ({}, {"concurrency": True}, {}), "vars.dbt_pendo.concurrency: True is not a whole number.", "", id="boolean"
        ),
        pytest.param(({"concurrency": 0}, {}, {}), "--concurrency: 0 must be above zero.", "", id="zero"),
        pytest.param(
            ({}, {}, {"PENDO_RETRY_TIME": "0"}), "PENDO_RETRY_TIME: '0' must be above zero.", "", id="no time at all"
        ),
        pytest.param(({"max_attempts": 0}, {}, {}), "--max-attempts: 0 must be above zero.", "", id="no attempts"),
        pytest.param(
            ({"missing_retry": -1}, {}, {}), "--missing-retry: -1 must be zero or more.", "", id="negative hours"
        ),
        pytest.param(
            ({}, {"max_error_share": "half"}, {}),
            "vars.dbt_pendo.max_error_share: 'half' is not a number.",
            "",
            id="a share in words",
        ),
        pytest.param(
            ({}, {}, {"PENDO_ALLOW_HTTP": "maybe"}),
            "PENDO_ALLOW_HTTP: 'maybe' is neither true nor false.",
            "",
            id="neither true nor false",
        ),
        pytest.param(({"retries": -1}, {}, {}), "--retries: -1 must be zero or more.", "", id="fewer than no retries"),
        pytest.param(({"timeout": "-1"}, {}, {}), "--timeout: '-1' must be above zero.", "", id="negative"),
        pytest.param(({"timeout": "inf"}, {}, {}), "--timeout: 'inf' must be above zero.", "", id="infinite"),
        pytest.param(({"timeout": "nan"}, {}, {}), "--timeout: 'nan' must be above zero.", "", id="NaN"),
    ],
)
def test_a_setting_that_makes_no_sense_says_where_it_stands(origins, message, hint):
    with pytest.raises(ConfigError) as caught:
        load_settings(*origins)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, 2)
    assert SECRET not in str(caught.value)


def test_a_bad_value_that_is_overruled_does_no_harm():
    assert load_settings({"timeout": 5}, {"timeout": "long"}, {"PENDO_TIMEOUT": "longer"}).timeout == 5.0


@pytest.mark.parametrize(("name", "variable"), [("retries", "PENDO_RETRIES"), ("missing_retry", "PENDO_MISSING_RETRY")])
def test_some_settings_may_be_zero(name, variable):
    assert getattr(load_settings({}, {}, {variable: "0"}), name) == 0
    assert getattr(load_settings({name: 0}, {}, {variable: "3"}), name) == 0


# Secrets.


@pytest.mark.parametrize(
    ("environ", "secret", "variable"),
    [
        pytest.param({"PENDO_INTEGRATION_KEY": SECRET}, SECRET, "PENDO_INTEGRATION_KEY", id="plain"),
        pytest.param(
            {"DBT_ENV_SECRET_PENDO_INTEGRATION_KEY": SECRET}, SECRET, "DBT_ENV_SECRET_PENDO_INTEGRATION_KEY", id="dbt's"
        ),
        pytest.param(
            {"PENDO_INTEGRATION_KEY": SECRET, "DBT_ENV_SECRET_PENDO_INTEGRATION_KEY": "other"},
            SECRET,
            "PENDO_INTEGRATION_KEY",
            id="the plain one wins",
        ),
        pytest.param(
            {"DBT_ENV_SECRET_PENDO_INTEGRATION_KEY": SECRET, "PENDO_INTEGRATION_KEY": " "},
            SECRET,
            "DBT_ENV_SECRET_PENDO_INTEGRATION_KEY",
            id="unless it is blank",
        ),
        pytest.param({"PENDO_INTEGRATION_KEY": f" {SECRET}\n"}, SECRET, "PENDO_INTEGRATION_KEY", id="blanks around"),
    ],
)
def test_the_integration_key_comes_from_the_environment(environ, secret, variable):
    key = load_settings({}, {}, environ).require_integration_key()
    assert (key.reveal(), key.variable) == (secret, variable)


@pytest.mark.parametrize(
    "environ",
    [{}, {"PENDO_INTEGRATION_KEY": ""}, {"PENDO_INTEGRATION_KEY": "  "}, {"PENDO_INTEGRATION_KEY_OLD": SECRET}],
)
def test_without_an_integration_key_the_message_says_where_to_get_one(environ):
    with pytest.raises(ConfigError, match="No Pendo integration key is set") as caught:
        load_settings({}, {}, environ).require_integration_key()
    assert caught.value.exit_code == 2
    assert "PENDO_INTEGRATION_KEY" in caught.value.hint
    assert "write access" in caught.value.hint


@pytest.mark.parametrize("prefix", ["", "DBT_ENV_SECRET_"])
def test_track_secrets_come_by_app(prefix):
    environ = {
        f"{prefix}PENDO_TRACK_SECRET": "of-the-only-app",
        f"{prefix}PENDO_TRACK_SECRET_WEB": "of-web",
        f"{prefix}PENDO_TRACK_SECRET_my_app": "of-my-app",
    }
    settings = load_settings({}, {}, environ)
    assert settings.require_track_secret(None).reveal() == "of-the-only-app"
    assert settings.require_track_secret("web").reveal() == settings.require_track_secret("WEB").reveal() == "of-web"
    assert settings.require_track_secret("my_app").reveal() == "of-my-app"
    assert settings.require_track_secret("web").variable == f"{prefix}PENDO_TRACK_SECRET_WEB"


def test_a_plain_track_secret_wins_over_dbts_app_by_app():
    settings = load_settings(
        {},
        {},
        {
            "PENDO_TRACK_SECRET_WEB": "plain",
            "DBT_ENV_SECRET_PENDO_TRACK_SECRET_WEB": "other",
            "DBT_ENV_SECRET_PENDO_TRACK_SECRET": "only",
        },
    )
    assert settings.require_track_secret("web").reveal() == "plain"
    assert settings.require_track_secret(None).reveal() == "only"


@pytest.mark.parametrize(
    ("app", "variable"),
    [(None, "PENDO_TRACK_SECRET."), ("web", "PENDO_TRACK_SECRET_WEB."), ("", "PENDO_TRACK_SECRET.")],
)
def test_a_missing_track_secret_names_the_variable_it_belongs_in(app, variable):
    settings = load_settings({}, {}, {"PENDO_TRACK_SECRET_MOBILE": SECRET, "PENDO_INTEGRATION_KEY": SECRET})
    with pytest.raises(ConfigError, match="No Track Event shared secret is set") as caught:
        settings.require_track_secret(app)
    assert caught.value.exit_code == 2
    assert caught.value.hint.endswith(variable)
    assert SECRET not in str(caught.value)


def test_the_integration_key_is_no_track_secret_nor_the_other_way_round():
    with pytest.raises(ConfigError):
        load_settings({}, {}, {"PENDO_INTEGRATION_KEY": SECRET}).require_track_secret(None)
    with pytest.raises(ConfigError):
        load_settings({}, {}, {"PENDO_TRACK_SECRET": SECRET}).require_integration_key()


@pytest.mark.parametrize("bad", ["\n", "\r\nX-Evil: 1", "\t", "\0", "\u2019", "\u00e9", "\ud800"])
@pytest.mark.parametrize("variable", ["PENDO_INTEGRATION_KEY", "DBT_ENV_SECRET_PENDO_TRACK_SECRET_WEB"])
def test_a_secret_that_no_header_can_carry_is_refused_without_being_shown(variable, bad):
    with pytest.raises(ConfigError, match=f"^{variable} holds a character that is in no key") as caught:
        load_settings({}, {}, {variable: f"hunter{bad}hunter"})
    assert "hunter" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        pprint.pformat,
        "{}".format,
        "{!r}".format,
        lambda shown: f"{shown!s:>5}",
        lambda shown: repr(copy.copy(shown)),
        lambda shown: repr({"key": [shown]}),
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


def test_a_secret_gives_itself_away_to_the_one_who_asks():
    assert Secret(SECRET, "X").reveal() == SECRET


def test_looking_for_a_secret_takes_no_time_that_grows_with_the_powers_of_the_text():
    secret = Secrets([Secret("a&1<" * 10, "X")])
    for text in ("\\" * 20_000, "\\a&amp;1&lt;" * 2_000, "&#0" * 5_000, "%61" * 5_000):
        assert secret.hidden_in(text) == text.replace("\\a&amp;1&lt;" * 10, "***")


def test_the_environment_is_the_process_own_unless_given(monkeypatch):
    monkeypatch.setenv("PENDO_REGION", "jpn")
    assert load_settings({}, {}).region == "jpn"


# The project's folder.


def test_the_project_is_the_nearest_folder_upwards_that_has_one(tmp_path, monkeypatch):
    inner = tmp_path / "shop" / "models" / "marts"
    inner.mkdir(parents=True)
    (tmp_path / "shop" / "dbt_project.yml").touch()
    for folder in (inner, tmp_path / "shop"):
        monkeypatch.chdir(folder)
        assert default_project_dir() == tmp_path / "shop"


def test_without_a_project_the_folder_is_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_project_dir() == tmp_path


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "https://cloud.getdbt.com"),
        (" ", "https://cloud.getdbt.com"),
        ("emea.dbt.com", "https://emea.dbt.com"),
        (" https://ab123.us1.dbt.com/ ", "https://ab123.us1.dbt.com"),
        ("localhost:8443", "https://localhost:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_the_host_of_dbt_cloud_with_and_without_a_scheme(host, url):
    environ = {"DBT_CLOUD_ACCOUNT_ID": "7", "DBT_CLOUD_API_TOKEN": "token"}
    account = load_dbt_cloud(environ if host is None else {**environ, "DBT_CLOUD_HOST": host})
    assert (account.url, account.account_id, account.token.reveal()) == (url, 7, "token")
    assert "Secret(DBT_CLOUD_API_TOKEN)" in repr(account)


def test_the_plain_token_wins_over_the_one_of_dbt_cloud():
    environ = {"DBT_CLOUD_ACCOUNT_ID": "7", "DBT_ENV_SECRET_DBT_CLOUD_API_TOKEN": "hidden"}
    assert load_dbt_cloud(environ).token.reveal() == "hidden"
    assert load_dbt_cloud({**environ, "DBT_CLOUD_API_TOKEN": "plain"}).token.reveal() == "plain"
