"""What Pendo refuses, and a Pendo that cannot be reached: one clear message, and nothing half-done.

Each answer of a host that is not Pendo is in tests/unit/test_client_refusals.py, `check` of keys in test_check_keys.py.
"""

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, expect_in


@pytest.mark.parametrize("is_known", [False, True])
def test_a_refusal_is_told_by_every_command_and_asked_for_once(people, sandbox, monkeypatch, is_known):
    key = sandbox.read_only_key if is_known else "not-the-key-at-all"
    why = ("may only read",) if is_known else ("refused the integration key", "HTTP 403", "PENDO_REGION")
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", key)
    for command in ("check", "plan", "sync"):
        ended = people.run(command).expect(2).says(*why, "PENDO_INTEGRATION_KEY", "write access")
        assert key not in ended.output
    # A 403 is final: nobody asks again.
    assert [request.method for request in sandbox.requests] == ["GET"] * 3
    # However many syncs, it is asked for once; those of the other API go on.
    sandbox.forget_requests()
    people.model("more", PEOPLE, PEOPLE_ROWS)
    people.model("clicks", CLICKS, CLICK_ROWS)
    assert people.sync(status=1).statuses == {"people": "error", "more": "error", "clicks": "success"}
    assert len([request for request in sandbox.requests if "/token/" in request.path]) == 1
    assert len(sandbox.events) == 12


def test_a_host_that_is_not_there_is_told_of_and_only_a_sync_that_has_begun_goes_on(people, monkeypatch):
    url = "http://127.0.0.1:1"
    for name, value in {"PENDO_API_URL": url, "PENDO_DATA_URL": url, "PENDO_RETRIES": "3"}.items():
        monkeypatch.setenv(name, value)
    # The second attempt comes after half a second at most, the fourth after 1.75 seconds at least.
    monkeypatch.setattr("dbt_pendo.pendo.client.UNREACHED_TIME", 1.5)
    told = [f"Pendo at {url} cannot be reached (attempt {at}): ConnectionRefusedError" for at in range(1, 5)]
    people.model("new", None, PEOPLE_ROWS)
    for command in ("check", "plan", "sync", "fields", "verify", "init new --object visitor"):
        ended = people.run(*command.split(), "--json").expect(1)
        expect_in(ended.stderr, *told[:2])
        assert told[3] not in ended.stderr
        expect_in(str(ended.json), "did not take", "PENDO_API_URL", "network")
    people.model("clicks", CLICKS, CLICK_ROWS)
    expect_in(people.run("sync", "--quiet", "--select", "clicks").expect(1).stderr, *told)


def test_each_api_needs_its_own_key_only(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    for variable, needs_it, other, told in (
        ("PENDO_INTEGRATION_KEY", "people", "clicks", ("No Pendo integration key is set", "Settings > Integrations")),
        ("PENDO_TRACK_SECRET", "clicks", "people", ("No Track Event shared secret is set", "App Details")),
    ):
        sandbox.forget_requests()
        with monkeypatch.context() as environment:
            environment.setenv(variable, "  ")
            for command in ("check", "sync"):
                people.run(command, "--select", needs_it).expect(2).says(*told, variable)
            assert sandbox.requests == []
            assert people.sync("--select", other).statuses == {other: "success"}
