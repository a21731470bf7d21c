"""A drt project that sends the visitors with the REST destination in batch mode.

The settings are the fastest of those that were tried. A chunk opens a new HTTP client, so chunks are large. Four syncs
of a quarter each with `--threads 4` were no faster than one: Python's lock lets one of them work at a time.
"""

from __future__ import annotations

import json
from pathlib import Path

from visitors import FIELDS

BATCH, CHUNK = 500, 50_000

# How a batch becomes a body: as drt's documentation has it, or with records that DuckDB has written as JSON.
RECORDS = {
    "rows": ('user_id as "visitorId", {values} as "values"', "{{ rows | tojson_safe }}"),
    "text": (
        'to_json({{"visitorId": user_id, "values": {values}}})::text as record',
        "[{{ rows | map(attribute='record') | join(',') }}]",
    ),
}


def write(project: Path, database: Path, url: str, records: str) -> None:
    """Writes the project; its folder has to be HOME too, where drt looks for profiles."""
    for folder in ("syncs", ".drt"):
        (project / folder).mkdir(parents=True)
    (project / "drt_project.yml").write_text(json.dumps({"name": "bench", "version": "0.1", "profile": "bench"}))
    profile = {"type": "duckdb", "database": str(database), "fetch_size": CHUNK}
    (project / ".drt" / "profiles.yml").write_text(json.dumps({"bench": profile}))
    columns = (f"{name}: {_value(column, kind, records)}" for name, (column, kind) in FIELDS.items())
    select, template = RECORDS[records]
    sync = {
        "name": "visitors",
        "model": f"select {select.format(values='{' + ', '.join(columns) + '}')} from visitors",
        "destination": {
            "type": "rest_api",
            "url": url,
            "method": "POST",
            "headers": {"Content-Type": "application/json", "x-pendo-integration-key": "sink"},
            "body_mode": "batch",
            "batch_template": template,
            "max_records_per_request": BATCH,
        },
        "sync": {"mode": "full", "batch_size": CHUNK, "rate_limit": {"requests_per_second": 0}},
    }
    (project / "syncs" / "visitors.yml").write_text(json.dumps(sync))


def _value(column: str, kind: str, records: str) -> str:
    if kind == "float":
        return f"{column}::double"
    # DuckDB's JSON has a blank where ISO 8601 has a T.
    return f"strftime({column}::timestamp, '%Y-%m-%dT%H:%M:%S')" if (kind, records) == ("time", "text") else column
