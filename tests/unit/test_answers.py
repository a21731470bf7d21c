"""What a 2xx has to say: of every call of Pendo's that this client makes, by real answers of a real server."""

import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from calls import send_event

from dbt_pendo.pendo import deletion, metadata, segments, track
from dbt_pendo.pendo import records as readback
from dbt_pendo.pendo.client import PendoClient, PendoError, UnavailableError
from dbt_pendo.sandbox import Fault, Sandbox

IDS = ["v1", "v2", "v3"]
VALUES = orjson.dumps([{"visitorId": key, "values": {"plan": "pro"}} for key in IDS])


def answered(call: Callable[[PendoClient], Any], client: PendoClient, sandbox: Sandbox, body: str, **fault: Any) -> Any:
    """What a call makes of an answer."""
    sandbox.fail(Fault(**{"status": 200, "body": body, "times": None, **fault}))
    try:
        return call(client)
    finally:
        sandbox.clear_faults()


def counts(**changed: Any) -> str:
    document = {"total": 3, "updated": 3, "failed": 0} | changed
    return orjson.dumps({name: value for name, value in document.items() if value != "absent"}).decode()


UNCLEAR = [
    *(counts(updated=2, failed=1), counts(updated=3, errors=["no"]), counts(updated=3, failed=1, missing=["v1"])),
    *(counts(total=2, updated=2), counts(total=4, updated=4), counts(total="absent"), counts(updated="absent")),
    *(counts(updated=-1), counts(total="3", updated="3"), counts(total=True)),
    *("{}", "[]", "", "<html>", '{"total": 3, "upd', '{"error": "service unavailable"}'),
    # Their sums fit.
    *(counts(error="service unavailable"), counts(success=False), counts(status="error")),
]


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    ("body", "clear", "clear_if_created"),
    [
        (counts(), True, True),
        (counts(missing=None, errors=[]), True, True),
        (counts(updated=1, failed=2, missing=["v1"], errors=["v2: no"]), True, True),
        (counts(failed="absent", updated=2, missing=["v1"]), True, True),
        (counts(updated=0), False, True),
        (counts(updated=1, failed=1, errors=["v2: no"]), False, True),
        *((body, False, False) for body in UNCLEAR),
    ],
)
def test_a_bulk_answer_has_to_add_up(sandbox, connect, body, create, clear, clear_if_created):
    def write(client: PendoClient) -> Any:
        return client.send(metadata.values_request("visitor", "custom", VALUES, create, IDS))

    client = connect(retries=1)
    if clear_if_created if create else clear:
        assert answered(write, client, sandbox, body).ok
        assert client.traffic.retries == 0
    else:
        with pytest.raises(UnavailableError, match="an answer that does not say what was done"):
            answered(write, client, sandbox, body)
        assert client.traffic.retries == 1


def overwrite(client: PendoClient) -> Any:
    return client.send(segments.replace_request("Payers", "segment-1", ["v1"]))


@pytest.mark.parametrize("call", [overwrite, send_event])
@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    "body",
    [
        *("", "\n", "{}", "[]", "null", "OK", '"ok"', "true", "Accepted"),
        *('{"status": "ok", "code": 200}', '{"errors": [], "failed": 0}', '{"code": 0, "error": null}'),
    ],
)
def test_a_call_without_a_documented_answer_is_done_unless_it_tells_of_an_error(sandbox, client, call, status, body):
    assert answered(call, client, sandbox, body, status=status).ok


PAGES_AND_ERRORS = [
    *("<!doctype html><title>Log in</title>", "Service unavailable", "{", '"no"', "3", '[{}, {"error": "no"}]'),
    *('{"error": "no"}', '{"errors": ["no"]}', '{"Error": "no"}', '{"errorMessage": "no"}', '{"status": 503}'),
    *('{"status": "error"}', '{"status": "503"}', '{"success": false}', '{"ok": false}', '{"ok": "false"}'),
    *('{"statusCode": 503}', '{"statusCode": 403, "message": "no"}', '{"fault": {"faultstring": "no"}}'),
    '{"code": 500, "message": "Internal error"}',
]
SAYING_NOTHING = ["", "null", "{}", '{"error": {"message": "no"}}', '{"custom": null}', "<html>", '{"valid": "yes"}']
UNDOCUMENTED = [overwrite, send_event, lambda client: track.verify_secret(client, None)]
READING = [
    segments.list_segments,
    lambda client: segments.segment_exists(client, "segment-1"),
    lambda client: client.send(segments.patch_request("segment-1", {"add": ["v1"]})),
    lambda client: client.send(deletion.deletion_request("visitor", ["v1"])),
    lambda client: readback.read_record(client, "visitor", "v1"),
    lambda client: list(readback.read_records(client, "visitor")),
    lambda client: metadata.read_schema(client, "visitor"),
    metadata.verify_key,
    track.read_event_names,
]


@pytest.mark.parametrize(
    ("call", "body"), [*itertools.product(UNDOCUMENTED, PAGES_AND_ERRORS), *itertools.product(READING, SAYING_NOTHING)]
)
def test_neither_an_error_nor_nothing_is_a_success_whatever_its_status(sandbox, connect, call, body):
    with pytest.raises(UnavailableError, match="an answer that does not say what was done"):
        answered(call, connect(retries=1), sandbox, body)


JOBS: list[tuple[str, str, int | None]] = [
    ('{"command": "Pending", "totalTagged": 0}', "running", 0),
    ('{"Command": "PROGRESS"}', "running", None),
    ('{"status": "in progress"}', "running", None),
    ('{"command": "finish", "status": 200, "totalTagged": 5}', "finished", 5),
    ('{"COMMAND": "Finish", "TotalTagged": "5"}', "finished", 5),
    ('"finished"', "finished", None),
    ('{"command": "upload", "status": "Done"}', "finished", None),
    ('{"command": "Error", "message": "v3 is no id"}', "failed", None),
    *((body, "unknown", None) for body in ('{"command": "Ended"}', "[]", "", "{}", "<html>", '{"command": {}}', "3")),
]


@pytest.mark.parametrize(("body", "state", "tagged"), JOBS)
def test_how_far_a_job_is_is_read_in_any_spelling(sandbox, client, body, state, tagged):
    job = answered(lambda client: segments.load_job(client, "segment-1"), client, sandbox, body)
    assert (job.state, job.tagged) == (state, tagged)
    assert state != "failed" or job.said == "v3 is no id"


@pytest.mark.parametrize(
    "table",
    [
        'visitorId\n"a"\n"b,""c"\nd\n',
        '\ufeffVisitor ID\r\na\r\n"b,""c"\r\nd\r\n',
        'd\na\n"b,""c"',
        'name,visitor_id\nAnn,a\nBob,"b,""c"\n\nDora, d \n',
    ],
    ids=["as seen", "as a spreadsheet writes it", "without a header", "of several columns"],
)
def test_an_export_of_members_is_read_in_any_form(sandbox, client, table):
    sandbox.add_segment("S", ["v1"])
    sandbox.fail(Fault(status=200, body=table, path="/results/csv"))
    assert segments.read_members(client, "segment-1", client.wait, 1.0) == {"a", 'b,"c', "d"}


def test_an_export_of_any_size_is_read(sandbox, client, monkeypatch):
    monkeypatch.setattr(PendoClient, "largest_answer", 1_000)
    everybody = {f"visitor-{number}" for number in range(10_000)}
    sandbox.add_segment("S", sorted(everybody))
    # One that broke off is read again from its start.
    sandbox.fail(Fault("truncate", when="after", path="/csv$"))
    assert segments.read_members(client, "segment-1", client.wait, 1.0) == everybody


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        *(("/visitors$", 403, "no"), ("/visitors$", 200, "{}"), ("/status$", 404, "no"), ("/csv$", 404, "no")),
        *(("/status$", 200, '{"status": "failed"}'), ("/csv$", 200, "<html>"), ("/csv$", 200, '{"error": "no"}')),
    ],
)
def test_an_export_that_cannot_be_read_is_an_error(sandbox, client, path, status, body):
    sandbox.add_segment("S", ["v1"])
    sandbox.fail(Fault(status=status, body=body, path=path))
    with pytest.raises(PendoError):
        segments.read_members(client, "segment-1", client.wait, 1.0)


def test_a_deletion_is_followed_by_the_id_of_its_job(sandbox, client):
    request = deletion.deletion_request("visitor", ["v1"])
    for body, job in [
        *(('{"id": "job-1"}', "job-1"), ('{"subscriptionId": "5", "id": "job-1"}', "job-1")),
        *(('{"requestId": "5", "id": "6", "jobId": "job-1"}', "job-1"), ('{"requestId": 7}', "7")),
    ]:
        assert deletion.job_of(answered(lambda client: client.send(request), client, sandbox, body)) == job
    for body in ("", "{}", "<html>", '{"error": "done"}'):
        # A job that says nothing of itself is still queued.
        assert answered(lambda client: deletion.job_state(client, "job-1"), client, sandbox, body)[0] == "queued"


@pytest.mark.parametrize(
    "body",
    [
        '[{"trackTypeName": "A", "name": "Ay"}, {"name": "B"}, {"id": 5, "name": null}, "C", 7, null]',
        '{"total": 2, "results": [{"trackTypeName": "A", "name": "B"}, {"name": "C"}, {"name": "Ay"}]}',
    ],
)
def test_names_of_events_in_whatever_form(sandbox, client, body):
    assert answered(track.read_event_names, client, sandbox, body) == {"A", "Ay", "B", "C"}
    assert answered(track.read_event_names, client, sandbox, "[]") == set()


@pytest.mark.parametrize(
    "row", [{"visitorId": "v1"}, {"id": "v1", "metadata": None}, {"metadata": {"auto": {"id": "v1"}}}]
)
def test_a_hidden_record_is_known_by_its_id_alone(sandbox, connect, row):
    def read(view: Any) -> Any:
        sandbox.fail(Fault(status=200, body=orjson.dumps({"results": [row]}).decode(), path="/aggregation"))
        return [record.key for page in readback.read_records(connect(retries=0), "visitor", view) for record in page]

    assert [read(view) for view in ("excluded", "do_not_process")] == [["v1"], ["v1"]]
    # Of the others the values are needed.
    with pytest.raises(PendoError, match="no visitorId or no metadata"):
        read("shown")


OPEN_VISITORS = [
    '[{"id": "job-1", "kind": "visitor", "visitors": ["v1", 2]}]',
    '[{"id": "job-1", "type": "Visitors", "items": [{"visitorId": "v1"}, {"id": 2}]}]',
    *('{"job-1": {"visitors": ["v1", "2"]}}', '{"jobs": [{"jobId": "job-1", "ids": ["v1", "2"]}]}'),
    '{"bulkDeletes": {"job-1": {"state": "odd", "visitors": ["v1", "2"]}, "job-2": {"accounts": ["v1"]}}, "total": 2}',
    '[{"id": "account-1", "type": "VISITOR", "ids": ["v1", "2"]}]',
    '[{"id": "job-2", "kind": "account", "ids": ["v1"]}, {"id": "job-1", "visitors": ["v1", "2"], "accounts": ["a"]}]',
]
NAMING_NOBODY = ['[{"id": "job-1"}]', '{"job-1": {"status": "odd"}}', '["job-1"]', '{"id": "job-1", "kind": "visitor"}']


@pytest.mark.parametrize("body", [*OPEN_VISITORS, *NAMING_NOBODY])
def test_open_deletions_are_read_in_whatever_form_they_come(sandbox, client, body):
    (found,) = answered(lambda client: deletion.open_deletions(client, "visitor"), client, sandbox, body)
    assert (found.job, found.ids) == (
        "account-1" if "account-1" in body else "job-1",
        {"v1", "2"} if body in OPEN_VISITORS else set(),
    )


def test_what_lists_no_open_deletion_is_not_taken_for_one(sandbox, connect):
    def listed(client: PendoClient) -> Any:
        return deletion.open_deletions(client, "visitor")

    client = connect(retries=1)
    of_accounts = '[{"id": "job-1", "type": "account"}]'
    for body in ("[]", "{}", "", "null", '{"jobs": [], "total": 0}', of_accounts, "[1.5, null]"):
        assert answered(listed, client, sandbox, body) == []
    for status in (400, 402, 403, 404):
        assert answered(listed, client, sandbox, "", status=status) is None
    for fault in ({"body": "<html>"}, {"body": '{"error": "no"}'}, {"status": 500, "body": ""}):
        with pytest.raises(UnavailableError):
            answered(listed, client, sandbox, **fault)


@pytest.mark.parametrize(
    ("said", "listed", "state"),
    [
        *(("Completed", "[]", "done"), ("FAILED", "[]", "failed"), ("In progress", "[]", "queued")),
        # Pendo's list has those that are not completed.
        *(("odd", "[]", "done"), ("odd", '[{"id": "job-1"}]', "queued"), ("odd", '[{"id": "job-2"}]', "done")),
    ],
)
def test_a_job_whose_words_say_nothing_is_done_when_it_is_not_open_any_more(sandbox, client, said, listed, state):
    def ask(client: PendoClient) -> Any:
        sandbox.fail(Fault(status=200, body=listed, path="/bulkdelete$"))
        return deletion.job_state(client, "job-1")

    body = orjson.dumps({"state": said}).decode()
    assert answered(ask, client, sandbox, body, path="/job-1$") == (state, said)
    sandbox.fail(Fault(status=403, path="/bulkdelete$"))
    assert answered(lambda client: deletion.job_state(client, "job-1"), client, sandbox, body, path="/job-1$") == (
        "queued" if state == "done" and said == "odd" else state,
        said,
    )
