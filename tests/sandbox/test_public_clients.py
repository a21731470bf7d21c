"""What public clients ask of Pendo (public_clients.yml), and whether they could read the sandbox's answers."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.pendo import chosen

CASES = yaml.safe_load(Path(__file__).with_name("public_clients.yml").read_text(encoding="utf-8"))
TYPES = {"text": str, "whole": int, "flag": bool}


def filled(value: Any, kept: dict[str, str]) -> Any:
    """A request, or what is read in its answer, with what earlier answers had."""
    if isinstance(value, str):
        for name, text in kept.items():
            value = value.replace(f"{{{name}}}", text)
    elif isinstance(value, list):
        value = [filled(item, kept) for item in value]
    elif isinstance(value, dict):
        if value.keys() == {"visitors"} and isinstance(value["visitors"], int):
            return [f"visitor-{number}" for number in range(value["visitors"])]
        value = {key: filled(item, kept) for key, item in value.items()}
    return value


def fits(answer: Any, fields: Any) -> bool:
    """Whether an answer has what a client reads."""
    if isinstance(fields, dict) and fields.keys() == {"each"}:
        return isinstance(answer, list) and answer != [] and all(fits(item, fields["each"]) for item in answer)
    if isinstance(fields, dict):
        return isinstance(answer, dict) and all(key in answer and fits(answer[key], fields[key]) for key in fields)
    if isinstance(fields, list):
        return isinstance(answer, list) and len(answer) == len(fields) and all(map(fits, answer, fields))
    return type(answer) is TYPES[fields] if fields in TYPES else answer == fields


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['client'].split()[0]} {case['does']}")
def test_a_public_client_gets_what_it_reads(pendo, sandbox, case):
    sandbox.reset()
    sandbox.switches = chosen(**case.get("switches", {}))
    for kind in ("visitor", "account"):
        for name, type_name in (("plan", "string"), ("note", ""), ("since", "time")):
            sandbox.add_field(kind, "custom", name, type_name)
    sandbox.add_visitors(["v3", "v1", "_PENDO_T_x", "v2"])
    sandbox.add_accounts(["a2", "a1"])
    kept: dict[str, str] = {}
    for request in case["requests"]:
        body = filled(request.get("body"), kept)
        answer = pendo.call(request["method"], filled(request["path"], kept), body)
        assert answer.status_code == request.get("status", 200), (request, answer.text)
        fields = filled(request["fields"], kept)
        assert fits(answer.json(), fields), (request, answer.text)
        for name, path in request.get("keep", {}).items():
            value = answer.json()
            for part in path.split("."):
                value = value[int(part) if isinstance(value, list) else part]
            kept[name] = str(value)
