"""``alerts:`` in the project: what it takes, what is a mistake, and a URL that shows nowhere."""

import json
from typing import Any

import pytest
import yaml

from dbt_pendo.channels import EVENTS, Channel
from dbt_pendo.errors import ConfigError
from dbt_pendo.settings import load_settings

URL = "https://hooks.example/services/T0/B0/s3cr3t"
LIKE_THIS = "Write it like `- url: PENDO_ALERT_URL`."
SHARE_HINT = "Write it like `1%`."
KNOWN_KEYS = "Known keys: url, format, events, share."
KNOWN_EVENTS = f"Known events: {', '.join(EVENTS)}."


def read(text: str) -> tuple[Channel, ...]:
    """What a project with this under `alerts:` has set."""
    return load_settings({}, {"alerts": yaml.safe_load(text)}, {"pager": " https://pager.example \n"}).alerts


@pytest.mark.parametrize("variable", ["PENDO_ALERT_URL", "DBT_ENV_SECRET_PENDO_ALERT_URL"])
def test_a_channel_is_told_of_everything_as_slack_takes_it(variable):
    settings: Any = load_settings({}, {"alerts": [{"url": "PENDO_ALERT_URL"}]}, {variable: URL})
    (channel,) = settings.alerts
    assert (channel.variable, channel.format, channel.events) == ("PENDO_ALERT_URL", "slack", EVENTS)
    assert channel.url.reveal() == URL
    assert "s3cr3t" not in repr(settings)
    assert f"Secret({variable})" in repr(settings)


def test_channels_differ_and_none_is_none():
    slack, pager = read(
        "[{url: PENDO_ALERT_URL, events: [recovery, failure, failure]}, "
        "{url: pager, format: json, events: blocked, share: 2.5%}]"
    )
    assert (slack.url, slack.events, slack.share) == (None, ("recovery", "failure"), 1)
    assert (pager.format, pager.events, pager.share) == ("json", ("blocked",), 2.5)
    assert pager.url.reveal() == "https://pager.example"
    assert read("") == read("[]") == load_settings({}, {}, {}).alerts == ()
    with pytest.raises(ConfigError, match="Did you mean `alerts`"):
        load_settings({}, {"alert": []}, {})


def test_a_mistake_says_where_and_what():
    for text, message, hint in [
        ("PENDO_ALERT_URL", "alerts is not a list.", LIKE_THIS),
        ("{url: PENDO_ALERT_URL}", "alerts is not a list.", LIKE_THIS),
        ("[PENDO_ALERT_URL]", "alerts[0] needs a `url`.", LIKE_THIS),
        ("[{url: A}, {format: json}]", "alerts[1] needs a `url`.", LIKE_THIS),
        ("[{url: A, fromat: json}]", "alerts[0]: unknown key `fromat`.", "Did you mean `format`?"),
        ("[{url: A, 7: x}]", "alerts[0]: unknown key `7`.", KNOWN_KEYS),
        # YAML reads it as `true`.
        ("[{url: A, on: failure}]", "alerts[0]: unknown key `on`.", KNOWN_KEYS),
        ("[{url: A, format: teams}]", "alerts[0].format: unknown format `teams`.", "Known formats: slack, json."),
        ("[{url: A, format: jsn}]", "alerts[0].format: unknown format `jsn`.", "Did you mean `json`?"),
        ("[{url: A, events: [failures]}]", "alerts[0].events: unknown event `failures`.", "Did you mean `failure`?"),
        ("[{url: A, events: {x: 1}}]", "alerts[0].events: unknown event `{'x': 1}`.", KNOWN_EVENTS),
        ("[{url: A, share: 0.01}]", "alerts[0].share takes a share of a model's rows, from 0% to 100%.", SHARE_HINT),
        ("[{url: A}, {url: A}]", "alerts[1]: A is named above already.", "One message a run goes there."),
    ]:
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert (caught.value.message, caught.value.hint) == (f"dbt_project.yml: vars.dbt_pendo.{message}", hint)


@pytest.mark.parametrize("url", [json.dumps(URL), "\"{{ env_var('X') }}\"", "''", "null", "7", "[A]", "größe", "A B"])
def test_the_url_itself_stands_in_no_file(url):
    with pytest.raises(ConfigError, match=r"alerts\[0\].url takes the name of an environment variable") as caught:
        read(f"[{{url: {url}}}]")
    assert "s3cr3t" not in str(caught.value)
