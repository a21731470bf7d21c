"""No key, token or password is shown, wherever it was put and whoever quotes it."""

import base64
import json
from urllib.parse import quote

from harness import CLICKS, PEOPLE, PEOPLE_ROWS, refuse, run_cli

from dbt_pendo.sandbox import Fault

KEY = "0f3a9c1e-5b7d/4e2a+9f6c-PASTED=="
PIECES = ("p%40ss", "p@ss", "abc", KEY, quote(KEY, safe=""))


def test_a_setting_that_makes_no_sense_is_not_repeated(people, monkeypatch):
    for name, value in (
        ("API_URL", "http://user:p%40ss@127.0.0.1:1/?token=abc"),
        ("API_URL", "https://pendo.example/#abc"),
        ("API_URL", f"https://{quote(KEY, safe='')}:x"),
        ("DATA_URL", KEY),
        ("REGION", KEY),
        ("TIMEOUT", KEY),
        ("ALLOW_HTTP", KEY),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"PENDO_{name}", value)
            for command in ("check", "check --json", "exposures"):
                ended = run_cli(*command.split())
                assert ended.status or command == "exposures"
                shown = ended.output.replace(str(people.folder), "")
                assert not [piece for piece in (*PIECES, "Traceback") if piece in shown], shown


def test_nor_is_a_flag_nor_the_project(people):
    vars_ = {"dbt_pendo": {"integration_key": KEY}}
    for args in (("--timeout", KEY), ("--vars", json.dumps(vars_)), ("--vars", f"{{{KEY}")):
        assert KEY not in run_cli("check", *args).expect(2).output
    path = people.folder / "dbt_project.yml"
    sound = path.read_text(encoding="utf-8")
    for more in (
        f"vars: {{dbt_pendo: {{{KEY}: 1}}}}\n",
        f"vars: {{dbt_pendo: {{alerts: [{{url: PENDO_ALERT_URL, {KEY}: 1}}]}}}}\n",
        f"vars: dbt_pendo: {KEY}\n",
        f"{{ {KEY}\n",
    ):
        path.write_text(sound + more, encoding="utf-8")
        assert KEY not in run_cli("check").expect(2).output


def test_the_key_of_one_api_that_the_other_quotes_is_shown_nowhere(
    project, plans, sandbox, receiver, tmp_path, monkeypatch
):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("DBT_CLOUD_API_TOKEN", "dbtc_0123456789abcdef")
    # Of a user who wants to see everything.
    for name, value in {"DBT_DEBUG": "1", "DBT_LOG_LEVEL": "debug", "DBT_LOG_LEVEL_FILE": "debug"}.items():
        monkeypatch.setenv(name, value)
    sandbox.add_visitors(["a", "b"])
    project.settings("vars: {dbt_pendo: {alerts: [{url: PENDO_ALERT_URL}]}}")
    keys = [sandbox.integration_key, *sandbox.track_secrets.values(), "dbtc_0123456789abcdef", receiver.url]
    secrets = [*keys, *(quote(key, safe="") for key in keys)]
    secrets += [base64.b64encode(f"x:{key}".encode()).decode() for key in keys]
    said = f"not {' and '.join(secrets)}"
    # An answer that ends a sync, and one that ends up in the ledger.
    headers = {"X-Key": sandbox.integration_key}
    sandbox.fail(Fault(status=403, body=said, headers=headers, path="/data/track", times=None))
    refuse(sandbox, "b", said, path="/custom/value")
    project.model("people", PEOPLE, PEOPLE_ROWS)
    project.model("payments", CLICKS, "select 'e' as id, now() as at")
    commands = ["check", "sync", "sync --full-refresh --json", "sync --full-refresh --log-format json", "show"]
    commands += ["show --failed", "row people b", "row people b --json", "report"]
    shown = "".join(run_cli(*command.split()).output for command in commands)
    alerts = json.dumps(receiver.messages)
    files = {path: path.read_text(errors="replace") for path in project.folder.rglob("*") if path.is_file()}
    tables = repr(project.ledger("people") + project.rows("main_pendo.pendo_runs"))
    written = {"shown": shown, "alerts": alerts, "tables": tables, "summary": (tmp_path / "summary.md").read_text()}
    for place, text in {**files, **written}.items():
        assert not [secret for secret in secrets if secret in text], place
    # What is hidden was there.
    for place, text in written.items():
        assert "***" in text.replace("\\", ""), place
    assert any("***" in text for path, text in files.items() if path.name == "requests.jsonl")


def test_a_proxy_is_of_no_concern_to_who_sends_nothing(people, monkeypatch) -> None:
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "nonsense://127.0.0.1")
    monkeypatch.setenv("PENDO_API_URL", "https://pendo.example")
    for command in ("plan", "unlock"):
        run_cli(command).expect(0)


def test_the_warehouse_may_quote_a_secret_of_dbt(people, monkeypatch):
    monkeypatch.setenv("DBT_ENV_SECRET_FOLDER", "s3cret-folder")
    monkeypatch.setenv("SMALL_DUCKDB_PATH", "/nowhere/s3cret-folder/small.duckdb")
    for output in ((), ("--json",), ("--log-format", "json")):
        shown = run_cli("sync", *output).expect(1).output
        assert "/nowhere/***/small.duckdb" in shown
        assert "s3cret-folder" not in shown


def test_a_ledger_of_an_earlier_version_may_hold_one(people, sandbox):
    refuse(sandbox, "b", path="/custom/value")
    people.sync(status=1)
    said = f"HTTP 400: not {sandbox.integration_key}"
    people.sql("update main_pendo.people__ledger set detail = ? where status = 'rejected'", [said])
    people.sql("update main_pendo.pendo_runs set message = ?", [said])
    run_cli("report").expect(0)
    shown = "".join(run_cli(*command).output for command in (("show",), ("show", "--json"), ("row", "people", "b")))
    report = (people.target / "pendo_report.html").read_text(encoding="utf-8")
    for text in (shown, report):
        assert sandbox.integration_key not in text
        assert "HTTP 400: not ***" in text


def test_what_only_looks_like_a_secret_is_still_read(project, sandbox, monkeypatch):
    monkeypatch.setenv("DBT_ENV_SECRET_SCHEMA", "lifecycle")
    monkeypatch.setenv("DBT_ENV_SECRET_USER", "admin")
    sandbox.add_field("visitor", "custom", "lifecycle_stage", "string")
    sandbox.add_visitors(["b"])
    mapping = {**PEOPLE, "fields": {"lifecycle_stage": "stage"}}
    project.model("people", mapping, "select * from (values ('admin', 'lifecycle'), ('b', 'new')) rows(id, stage)")
    assert project.sync().outcome == ("warn", 1, 1, 0)
    assert project.statuses("people") == {"admin": "missing", "b": "delivered"}
    sandbox.add_visitors(["admin"])
    project.sync("--retry-held")
    assert run_cli("verify", "--json").expect(0).result()["equal"] == 2
