"""An error names its place in the documentation; tests/unit/test_docs.py checks that the site has it."""

import json
import re

import pytest
from harness import PEOPLE, PEOPLE_ROWS

from dbt_pendo.output.links import FILE

PAGE, ANCHORS = json.loads(FILE.read_text(encoding="utf-8")).values()


def linked(text: str) -> list[str]:
    found = re.findall(rf"^(?:[\d:]+)? *More: {re.escape(PAGE)}#(.+)$", text, re.MULTILINE)
    assert set(found) <= set(ANCHORS.values())
    assert text.count("More: ") == len(found)
    return found


@pytest.mark.parametrize(
    ("command", "environment", "anchor"),
    [
        (["sync"], {"PENDO_TIMEOUT": "soon"}, "is-not-a-number"),
        (["sync", "--target-path", "nowhere"], {}, "there-is-no-in"),
        (["sync", "--profile", "nobodys"], {}, "the-profile-in-cannot-be-used"),
        (["show", "20200101T000000000000Z-abcdef"], {}, "no-run-is-logged"),
        (["sync", "--selector", "nosuch"], {}, "there-is-no-selector-in-selectorsyml"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, list) else "",
)
def test_an_error_that_ends_a_command(people, monkeypatch, command, environment, anchor):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ended = people.run(*command)
    assert linked(ended.stderr) == [anchor]
    ended = people.run(*command, "--json")
    assert ended.json["error"]["link"] == f"{PAGE}#{anchor}"
    assert linked(ended.stderr) == [anchor]


@pytest.mark.parametrize(
    ("name", "value", "anchor"),
    [
        ("PENDO_INTEGRATION_KEY", "", "no-pendo-integration-key-is-set"),
        ("PENDO_INTEGRATION_KEY", "another-key", "pendo-at-refused-the"),
        ("PENDO_API_URL", "http://127.0.0.1:9", "pendo-at-did-not-take-in-the-last"),
    ],
)
def test_an_error_of_a_sync(people, monkeypatch, name, value, anchor):
    monkeypatch.setenv(name, value)
    for command in ("sync", "fields", "debug"):
        assert linked(people.run(command).output) == [anchor], command


def test_syncs_that_fail_for_one_reason_link_once(people):
    people.model("one", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    people.model("two", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    people.model("three", {**PEOPLE, "fields": {"unheard_of": "plan"}}, PEOPLE_ROWS)
    for command in ("check", "plan", "sync"):
        ended = people.run(command)
        assert sorted(linked(ended.stdout)) == ["has-no-column", "pendo-has-no-field"], ended.output
    assert sorted(linked(people.run("sync", "--quiet").stdout)) == ["has-no-column", "pendo-has-no-field"]
    # Mistakes that are told together have one.
    people.model("four", {**PEOPLE, "feilds": {}}, PEOPLE_ROWS)
    people.model("five", {**PEOPLE, "mode": "upset"}, PEOPLE_ROWS)
    assert linked(people.run("sync").output) == ["expected-found"]
    assert sorted(linked(people.run("check").output)) == ["expected-found", "has-no-column", "pendo-has-no-field"]


def test_the_log_of_an_error_has_the_link(people):
    (line,) = people.run("sync", "--log-format", "json", "--selector", "nosuch").stdout.splitlines()
    assert json.loads(line)["data"]["link"] == f"{PAGE}#there-is-no-selector-in-selectorsyml"
