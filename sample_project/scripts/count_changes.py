"""Count dbt-pendo's work after two builds of the sample project: the numbers of README.md, by SQL.

    python sample_project/scripts/count_changes.py DAY_1.duckdb DAY_2.duckdb

Needs duckdb and pyyaml, which come with dbt-duckdb. It shares no code with dbt-pendo, so that each checks the other.
"""

import json
import sys
from pathlib import Path

import duckdb
import yaml

PROJECT = Path(__file__).resolve().parent.parent
KEYS = {"visitor": "visitor_id", "account": "account_id", "track_event": "event_id"}
ANONYMOUS = "({0} is null or trim({0}) = '' or {0} = 'VISITOR-UNIQUE-ID' or starts_with({0}, '_PENDO_T_'))"


def mappings():
    """Yield each model's name, its meta.pendo and the columns mapped anywhere in it."""

    def columns(value):
        if isinstance(value, dict):
            return [] if "value" in value else [value["column"]]
        return [value]

    for model in yaml.safe_load((PROJECT / "models/pendo/_pendo.yml").read_text(encoding="utf-8"))["models"]:
        pendo = model["config"]["meta"]["pendo"]
        sources = [pendo[word] for word in ("event", "visitor_id", "account_id", "timestamp") if word in pendo]
        if pendo.get("event") == "Invoice Paid":  # a literal, not a column
            sources.remove(pendo["event"])
        for group in ("fields", "properties", "context"):
            sources += pendo.get(group, {}).values()
        at_columns = [column["name"] for column in model.get("columns", []) if "meta" in column.get("config", {})]
        mapped = [name for source in sources for name in columns(source)] + at_columns
        yield model["name"], pendo, list(dict.fromkeys(mapped))


def classify(day, model, pendo, mapped):
    """SQL: each row of a model with its key, its mapped columns, and why it is invalid, by its key or once rendered."""
    key = pendo[KEYS[pendo["object"]]]
    by_key = f"""
        case
            when {key} is null or trim({key}) = '' then 'no key'
            when count(*) over (partition by {key}) > 1 then 'duplicate key'
            {f"when {ANONYMOUS.format(key)} then 'anonymous visitor'" if pendo["object"] == "visitor" else ""}
        end"""
    by_value = "cast(null as varchar)"
    if pendo["object"] == "track_event":
        by_value = f"""
        case
            when {ANONYMOUS.format(pendo["visitor_id"])} then 'no visitor, or anonymous'
            when {pendo["timestamp"]} is null then 'no timestamp'
        end"""
    return f"""
        select {key} as record_key, row({", ".join(mapped)}) as mapped, {by_key} as by_key, {by_value} as by_value
        from {day}.main.{model}"""


def main():
    subscription = json.loads((PROJECT / "pendo_subscription.json").read_text(encoding="utf-8"))
    connection = duckdb.connect()
    for name, path in zip(("day_1", "day_2"), sys.argv[1:], strict=True):
        connection.execute(f"attach '{path}' as {name} (read_only)")

    def count(sql):
        return connection.execute(f"select count(*) from {sql}").fetchone()[0]

    tables = {"day_1": [], "day_2": []}
    reasons = []
    for model, pendo, mapped in mappings():
        for day in tables:
            connection.execute(f"create or replace temp table {day}_rows as {classify(day, model, pendo, mapped)}")
            valid = f"select * from {day}_rows where by_key is null and by_value is null"
            connection.execute(f"create or replace temp table {day}_valid as {valid}")
            for column in ("by_key", "by_value"):
                why = connection.execute(
                    f"select {column}, count(*) from {day}_rows where by_key is null or '{column}' = 'by_key' "
                    f"group by {column} having {column} is not null order by {column}"
                ).fetchall()
                reasons += [f"{model} {day} {column}: {reason} {number}" for reason, number in why]
        # An update skips ids that Pendo does not know. They are held for a day.
        connection.execute("create or replace temp table missing (id varchar)")
        if pendo.get("mode") == "update":
            known = [(identifier,) for identifier in subscription[pendo["object"] + "s"]]
            connection.execute("create or replace temp table known (id varchar)")
            connection.executemany("insert into known values (?)", known)
            connection.execute(
                "insert into missing select record_key from day_1_valid where record_key not in (select id from known) "
                "union select record_key from day_2_valid where record_key not in (select id from known)"
            )
        is_missing = "record_key in (select id from missing)"
        pair = "day_1_valid a join day_2_valid b using (record_key)"
        invalid = "(by_key is not null or by_value is not null)"
        tables["day_1"].append([
            model, count("day_1_rows"), count("day_1_valid"), count(f"day_1_valid where {is_missing}"),
            count(f"day_1_valid where not {is_missing}"), count("day_1_rows where by_key is not null"),
            count("day_1_rows where by_key is null and by_value is not null"),
        ])
        tables["day_2"].append([
            model, count("day_2_rows"),
            count("day_2_valid where record_key not in (select record_key from day_1_valid)"),
            count(f"{pair} where {is_missing}"),
            count(f"{pair} where a.mapped is distinct from b.mapped and not {is_missing}"),
            count(f"{pair} where a.mapped is not distinct from b.mapped and not {is_missing}"),
            count("day_1_valid where record_key not in (select record_key from day_2_valid)"),
            count(f"day_2_valid where {is_missing}") - count(f"{pair} where {is_missing}"),
            # Rows that left the model are noted, and count as delivered.
            count("day_2_valid where not " + is_missing) - count(
                f"{pair} where a.mapped is not distinct from b.mapped and not {is_missing}"
            ) + count("day_1_valid where record_key not in (select record_key from day_2_valid)"),
            count(f"day_2_rows where {invalid}"),
        ])
    titles = {
        "day_1": ["rows", "added", "of these missing", "of these delivered", "invalid by key", "invalid once rendered"],
        "day_2": ["rows", "new", "held", "changed", "unchanged", "gone", "missing", "delivered", "invalid"],
    }
    for day, rows in tables.items():
        total = ["total", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]
        print("|", " | ".join([day.replace("_", " "), *titles[day]]), "|")
        print("| --- |" + " --: |" * len(titles[day]))
        for name, *numbers in (*rows, total):
            print("|", " | ".join([f"`{name}`" if name != "total" else name, *map(str, numbers)]), "|")
        print()
    print(*reasons, sep="\n")


if __name__ == "__main__":
    main()
