"""How much of what Pendo allows a sync uses: real runs against a sandbox that lets R requests a second pass.

The sandbox answers in 100 to 300 ms, at 20 requests a second in 150 ms. Shows, for each R, the share of the allowed
rate that was reached between the first and the last request (at least 90 %), and the share of requests that were
refused (under 5 %):

    python benchmarks/pacing.py [--seconds 30]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from visitors import build_project, duckdb_output, environment

from dbt_pendo.sandbox import Sandbox, Switches

# Requests a second, how many milliseconds an answer takes, and how many syncs are under way at once.
RATES = ((10, (100, 300), 1), (20, (150, 150), 1), (20, (150, 150), 8), (50, (100, 300), 1))
MODEL = """
select 'e' || i as id, 'u1' as person, timestamp '2026-11-01' as happened_at from range({rows}) t(i)
"""
PENDO = {
    "object": "track_event",
    "event": "Clicked",
    "event_id": "id",
    "visitor_id": "person",
    "timestamp": "happened_at",
    "max_age": "none",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    seconds = parser.parse_args().seconds
    for rate, latency, syncs in RATES:
        taken, refused, took = run(rate, latency, rate * seconds // syncs * syncs, syncs)
        # The bucket is full at the beginning.
        share = (taken - rate) / (rate * took)
        print(
            f"{rate:3} requests a second allowed, {latency[0]} to {latency[1]} ms each, {syncs} at once: "
            f"{share:4.0%} used over {took:.0f} s (at least 90 %), "
            f"{refused / (taken + refused):.1%} refused (under 5 %)"
        )


def run(rate: int, latency: tuple[int, int], rows: int, syncs: int) -> tuple[int, int, float]:
    """Returns how many requests were taken and refused, and the seconds between the first and the last."""
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        sandbox.switches = Switches(latency_ms=latency, requests_per_second=rate)
        project = Path(folder) / "project"
        models = {f"clicks_{at}": (MODEL.format(rows=rows // syncs), PENDO) for at in range(syncs)}
        build_project(project, models, duckdb_output(project / "pace.duckdb") | {"threads": syncs})
        env = environment(project, sandbox.url) | {
            "PENDO_INTEGRATION_KEY": sandbox.integration_key,
            "PENDO_TRACK_SECRET": sandbox.track_secrets[""],
            "PENDO_CONCURRENCY": "24",
        }
        command = [sys.executable, "-m", "dbt_pendo", "sync"]
        subprocess.run(command, env=env, cwd=project, check=True, capture_output=True)
        times = [request.at for request in sandbox.requests]
        refused = sum(request.status == 429 for request in sandbox.requests)
        assert len(sandbox.events) == rows
        return len(times) - refused, refused, max(times) - min(times)


if __name__ == "__main__":
    main()
