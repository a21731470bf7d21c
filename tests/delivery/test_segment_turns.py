"""Two syncs of one run that load their segments take turns."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from harness.pendo import chosen, environment_of

from dbt_pendo.delivery.segments import Segment
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo import segments as api
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.sandbox import Sandbox
from dbt_pendo.settings import load_settings

# What is noted of a segment plays no part in writing it.
NO_TABLES = cast(Any, SimpleNamespace(segment_notes=lambda: None))


def test_two_segments_are_never_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "FIRST_WAIT", 0.02)
    # Pendo would refuse a second job, and a wait for that would be too long.
    switches = chosen(segment_seconds=(0.0, 0.0), segment_looks=(2, 2), segment_second_job="refuse")
    with Sandbox(switches=switches) as sandbox:
        settings = load_settings({"segment_timeout": 20}, {}, environment_of(sandbox))
        with PendoClient(settings) as client:
            specs = [SyncSpec(name, f"model.x.{name}", "x.yml", "segment", "id", segment=name) for name in "abcd"]
            loads = [Segment(client, spec, Stop(), NO_TABLES) for spec in specs]
            threads = [threading.Thread(target=load.load, args=(["v1", "v2"],)) for load in loads]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [segment["visitors"] for segment in sandbox.segments.values()] == [["v1", "v2"]] * 4
        assert {request.status for request in sandbox.requests} == {200}
        # Each upload comes after the last look at the job before it.
        order = [request.path.split("/")[-2] for request in sandbox.requests if request.path.endswith("/status")]
        assert order == [name for number in range(1, 5) for name in [f"segment-{number}"] * 5]
