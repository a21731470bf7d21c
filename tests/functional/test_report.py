"""What a report holds: the past as the warehouse and the kept calls have it, and nothing that must not show."""

import json
import os
import shutil
import subprocess

import pytest
from harness import CLICKS, PEOPLE, Project, refuse, run_cli, select
from report_file import Report, read_report
from test_calls import MAPPED, people  # noqa: F401 - a fixture
from test_calls import PEOPLE_ROWS as ROWS

from dbt_pendo.history import report as review
from dbt_pendo.sandbox import Fault


def report_of(project: Project, *args: str) -> Report:
    project.run("report", *args).expect(0)
    return read_report(project.target / "pendo_report.html")


def test_it_tells_of_each_run_what_the_run_log_has(people, sandbox):
    sandbox.add_field("visitor", "custom", "big", "integer")
    people.model("others", {**PEOPLE, "fields": {"big": "big"}}, "select 'u-1' as id, 9007199254740993 as big")
    people.sync()
    refuse(sandbox, "u-3", "no")
    people.build("people", ROWS.replace("'plan '", "'new plan '"))
    people.sync(status=1)
    report = report_of(people)
    runs = report.data["runs"]
    logged = {f"{row['run_id']} {row['sync']}": row for row in people.rows("main_pendo.pendo_runs")}
    told = {f"{run['run_id']} {sync['sync']}": sync for run in runs for sync in run["syncs"]}
    assert (told.keys(), len(runs)) == (logged.keys(), 2)
    for name, sync in told.items():
        del sync["logged_at"]
        assert sync == {key: logged[name][key] for key in sync}
    assert [run["run_id"] for run in runs] == sorted((run["run_id"] for run in runs), reverse=True)
    assert [run["status"] for run in runs] == ["partial", "warn"]
    assert any('"big":9007199254740993' in str(request) for request, _ in report.bodies)
    assert len(report_of(people, "--runs", "1").data["runs"]) == 1


def test_rows_are_listed_with_their_calls_until_they_are_delivered(people, sandbox, monkeypatch):
    for key in ("u-3", "u-7"):
        refuse(sandbox, key, f"{key}: plan is not to our liking")
    people.build("people", f"{ROWS} union all select null, 'x', 'y' union all select 'u-0', 'x', 'y'")
    people.sync(status=1)
    report = report_of(people)
    listed = [(row["key"], row["status"]) for row in report.rows() if row["status"] != "invalid"]
    assert listed == [("u-3", "rejected"), ("u-7", "rejected"), ("u-11", "missing")]
    assert {row["key"] for row in report.rows(status="invalid")} == {"u-0"}
    # They differ by the row's own id only, so they are one reason.
    reasons = {(reason["status"], reason["rows"]) for reason in report.sync("people")["reasons"]}
    assert {("rejected", 2), ("missing", 1)} <= reasons
    # A row leads to the call that carried it.
    assert len(report.calls()) == len(sandbox.requests)
    for row in report.rows(status="rejected"):
        (call,) = report.calls(run=row["run_id"], number=row["call"])
        request, answer = report.bodies[call["body"]]
        sent = [record["visitorId"] for record in json.loads(str(request))]
        assert (call["status"], sent, answer) == (400, [row["key"]], f"{row['key']}: plan is not to our liking")
        assert call["said"] == answer
    (missing,) = report.rows(status="missing")
    (call,) = report.calls(number=missing["call"])
    assert json.loads(str(report.bodies[call["body"]][1]))["missing"] == ["u-11"]
    sandbox.clear_faults()
    refuse(sandbox, "u-7", "u-7: plan is not to our liking")
    people.build("people", ROWS)
    people.sync(status=1)
    # What is sound again leaves no trace, as a row that was delivered does.
    assert [(row["key"], row["attempts"]) for row in report_of(people).rows()] == [("u-7", 2), ("u-11", 2)]
    # Rows that are held stay listed, and on another machine, which has no calls.
    monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "1")
    assert people.sync().planned["held"] == 2
    shutil.rmtree(people.target / "dbt_pendo")
    assert "No calls of these runs are kept on this machine" in people.run("report", "--runs", "1").expect(0).stdout
    report = read_report(people.target / "pendo_report.html")
    assert report.data["calls"]["kept"] == []
    assert [(row["key"], row["call"]) for row in report.rows(status="rejected")] == [("u-7", None)]


def test_the_mapping_is_told_in_pendos_words(people, sandbox):
    paid = {**CLICKS, "event": "Paid", "visitor_id": "who", "properties": {"amount": "usd"}, "max_changes": "5%"}
    people.model("paid", {**paid, "account_id": {"parent": "org", "child": "unit"}}, "select 1 as id")
    people.annotate("people", {**MAPPED, "fields": {"plan": "plan", "mrr": {"value": 5, "type": "float"}}})
    report = report_of(people)
    mapping = [(one["pendo"], one["from"], one["constant"]) for one in report.sync("people")["mapping"]]
    assert mapping == [("visitor_id", "id", False), ("plan", "plan", False), ("mrr", "5", True)]
    mapping = [(one["pendo"], one["from"]) for one in report.sync("paid")["mapping"]]
    assert mapping == [
        *(("event_id", "id"), ("event", '"Paid"'), ("visitor_id", "who"), ("timestamp", "at")),
        *(("account_id", "org::unit"), ("properties.amount", "usd")),
    ]
    assert report.sync("paid")["options"]["max_changes"] == "5%"


def test_without_a_sound_mapping_the_past_is_told(people, sandbox):
    people.sync()
    people.annotate("people", {**MAPPED, "feilds": {}})
    report = report_of(people)
    assert "did you mean `fields`" in report.data["note"]
    assert report.sync("people")["mapping"] is None
    people.manifest_path.unlink()
    assert "There is no manifest.json" in people.run("report").expect(0).stdout
    report = report_of(people)
    assert (len(report.data["runs"]), report.data["project"]) == (1, "small")


def test_where_it_is_written(people, sandbox, tmp_path):
    (looked,) = people.run("report", "--json", "--output", "out/of/it.html").expect(0).json["results"]
    ends = {"target": "dev", "schema": "main_pendo", "pendo": sandbox.url}
    nothing = {"runs": 0, "syncs": 1, "rows": 0, "calls": 0, "note": None}
    assert looked == {"path": "out/of/it.html", **nothing, **ends}
    report = read_report(tmp_path / "out" / "of" / "it.html")
    assert (report.data["runs"], report.sync("people")["last"]) == ([], None)
    # It looked, and made nothing.
    assert people.schemas() == set()
    assert not (people.target / "pendo_report.html").exists()
    (tmp_path / "file").touch()
    assert "cannot be written" in people.run("report", "--output", "file/report.html").expect(1).stderr
    for flags in (("--output", str(tmp_path)), ("--runs", "0"), ("--keep-runs", "few")):
        people.run("report", *flags).expect(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out", "small"]
    # A pipe is written into.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        try:
            assert "No run is logged yet" in run_cli("report", "--output", str(pipe)).expect(0).stdout
            assert pipe.is_fifo()
            assert reader.communicate()[0].endswith(b"</html>\n")
        finally:
            reader.kill()


def test_hostile_values_are_data(project, sandbox):
    """What they do in a browser (nothing): test_report_page.py."""
    hostile = "</script><!--<script><img src=x onerror=alert(1)>' onclick='&lt;b&gt; \u2028 \u2029 \u202e ${x} $data"
    sandbox.add_field("visitor", "custom", "field", "string", display_name=hostile)
    sandbox.add_visitors([hostile])
    project.model("people", {**PEOPLE, "fields": {hostile: "value"}}, select("id, value", (hostile, hostile)))
    sandbox.fail(Fault(status=400, body=hostile, path="custom/value", times=None))
    project.sync(status=1)
    report = report_of(project)
    # The same elements as in any report: a style, the data, the bodies, the script.
    assert [element.tag for element in report.inline] == ["style", "script", "script", "script"]
    assert not [tag for tag, _ in report.tags if tag in ("img", "b")]
    assert not [name for _, attributes in report.tags for name in attributes if name.startswith("on")]
    assert [row["key"] for row in report.rows(status="rejected")] == [hostile]
    assert [one["pendo"] for one in report.sync("people")["mapping"]] == ["visitor_id", hostile]
    for element in report.inline[1:3]:
        assert not set("<>&\u2028\u2029") & set(element.text)


def test_only_its_own_script_and_style_may_run(people):
    report = report_of(people)
    style, *_, script = report.inline
    (policy,) = [str(attributes["content"]) for _, attributes in report.tags if "http-equiv" in attributes]
    assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == {
        "default-src": "'none'",
        "script-src": script.hash,
        "style-src": style.hash,
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # Nothing in it has an address but the sections.
    links = [str(attributes.get("href")) for tag, attributes in report.tags if "href" in attributes]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not [attributes for _, attributes in report.tags if "src" in attributes]


def test_values_of_masked_columns_are_nowhere(people, sandbox):
    # The run is older than the wish to hide anything.
    key = sandbox.integration_key
    refuse(sandbox, "u-3", f"user3@example.org is no address of u-3, nor of {key}")
    people.sync(status=1)
    report = report_of(people, "--mask", "another_column")
    said = "user3@example.org is no address of u-3, nor of ***"
    assert [row["detail"] for row in report.rows(status="rejected")] == [f"HTTP 400: {said}"]
    assert key not in report.text
    report = report_of(people, "--mask", "EMAIL")
    assert "@example.org" not in report.text
    assert [row["detail"] for row in report.rows(status="rejected")] == [review.HIDDEN_REASON]
    assert [row["key"] for row in report.rows()] == ["u-3", "u-11"]
    assert report.sync("people")["last"]["message"] == review.HIDDEN_REASON
    (row,) = report.rows(status="rejected")
    (call,) = report.calls(number=row["call"])
    assert report.bodies[call["body"]][1] == review.HIDDEN_REASON
    assert call["said"] == review.HIDDEN_REASON
    # Of a sync without a mapping all is hidden.
    people.manifest_path.unlink()
    report = report_of(people, "--mask", "something")
    assert "user3@example.org is no address" not in json.dumps(report.data)
    assert "@example.org" not in report.text
    assert all(row["key"].startswith("#") for row in report.rows())


@pytest.mark.parametrize("from_the_start", [True, False])
def test_masked_keys_are_nowhere(people, sandbox, monkeypatch, from_the_start):
    if from_the_start:
        monkeypatch.setenv("DBT_PENDO_MASK", "id")
    refuse(sandbox, "u-3", "u-3: no")
    people.sync(status=1)
    monkeypatch.setenv("DBT_PENDO_MASK", "id")
    report = report_of(people)
    (row,) = report.rows(status="rejected")
    assert row["key"].startswith("#")
    assert "u-" not in json.dumps([report.data["rows"], report.data["syncs"], report.data["runs"], report.bodies])
    (call,) = report.calls(number=row["call"])
    assert (call["status"], report.bodies[call["body"]][1]) == (400, review.HIDDEN_REASON)
    assert call["said"] == review.HIDDEN_REASON


def test_rejected_rows_and_failed_calls_come_before_others(people, sandbox, monkeypatch):
    sandbox.add_visitors([f"v-{number}" for number in range(3)])
    people.build("people", f"{ROWS} union all select 'aaa-unknown-' || range, 'x', 'y' from range(5)")
    people.model("zebra", PEOPLE, "select 'v-' || range as id, 'pro' as plan from range(3)")
    refuse(sandbox, "v-1", "no")
    refuse(sandbox, "v-2", "no")
    people.sync(status=1)
    for limit in (4, 8):
        monkeypatch.setattr(review, "ROWS_LISTED", limit)
        report = report_of(people)
        assert ([row["key"] for row in report.rows()][:2], len(report.rows())) == (["v-1", "v-2"], limit)
        assert bool(report.data["rows"]["limit"]) == (limit == 4)
    everything = report.calls()
    failed = [call["number"] for call in everything if call["failed"]]
    monkeypatch.setattr(review, "CALLS_LISTED", 2 * len(failed))
    monkeypatch.setattr(review, "OTHER_BODIES", 0)
    report = report_of(people)
    assert set() < set(failed) <= {call["number"] for call in report.calls()}
    assert report.data["calls"]["left_out"] == len(everything) - len(report.calls()) > 0
    assert all((call["body"] is None) != call["failed"] for call in report.calls())
    assert report.data["calls"]["without_bodies"]
