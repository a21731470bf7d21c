"""What compare.py measured, as tables and as a picture; pure but for `main`, which puts both into the docs:

python benchmarks/report.py benchmark.json
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
MEMORY_LIMIT = "300MB"
OURS, FLOOR, FIRST = "dbt-pendo", "floor", "first load"
LIMITED = f"dbt-pendo, memory_limit: {MEMORY_LIMIT}"


@dataclass(frozen=True)
class Target:
    """What was wanted and what was reached; both as they are printed."""

    case: str
    wanted: str
    reached: str
    ok: bool


class Results:
    """The medians of what compare.py wrote."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.measured: Sequence[Mapping[str, Any]] = results["measured"]
        self.check: Mapping[str, Any] | None = results.get("check")
        self.start: Mapping[str, Any] | None = results.get("start")
        self.plan: Mapping[str, Any] | None = results.get("plan")
        self._by_key = {(one["rows"], one["tool"], one["case"]): one for one in self.measured}

    def figure(self, name: str, rows: int, tool: str = OURS, case: str = FIRST) -> float | None:
        """Returns the median of a figure; None if it was not measured."""
        found = self._by_key.get((rows, tool, case))
        return median(found[name]) if found else None

    def rivals(self, rows: int) -> list[str]:
        """Returns the tools that others made and that were measured at so many rows."""
        own = (OURS, LIMITED, FLOOR)
        return [one["tool"] for one in self.measured if one["rows"] == rows and one["tool"] not in own]


def text(results: Mapping[str, Any]) -> str:
    """Returns everything but the picture, as Markdown."""
    read = Results(results)
    parts = [measured_table(read), delivering_lines(read)]
    if read.start:
        version, adapter = median(read.start["version"]), median(read.start["adapter"])
        parts.append(
            f"Of each of dbt-pendo's runs, {adapter:.2f} s of CPU time go by until dbt's adapter is open; "
            f"`dbt-pendo --version` takes {version:.2f} s."
        )
    if read.check:
        imported = "is imported" if read.check["dbt_imported"] else "is not imported"
        took = median(read.check["seconds"])
        parts.append(f"`dbt-pendo check --offline`, {read.check['models']:,} models: {took:.2f} s; dbt {imported}.")
    if read.plan:
        plan = read.plan
        parts.append(
            f"`dbt-pendo plan`, {plan['rows']:,} rows: {plan['seconds']:.1f} s, {plan['peak_mb']:,.0f} MB at the peak."
        )
    if reached := targets(read):
        rows = [(one.case, one.wanted, one.reached, "yes" if one.ok else "**no**") for one in reached]
        parts.append(_table(("case", "wanted", "reached", "ok?"), rows))
    about = {**results["versions"], **results["machine"]}
    parts.append("; ".join(f"{name} {value}" for name, value in about.items()) + ".")
    return "\n\n".join(filter(None, parts))


def measured_table(read: Results) -> str:
    """Returns a line for each tool, case and number of rows."""
    lines = []
    for one in read.measured:
        seconds = median(one["seconds"])
        ours = read.figure("seconds", one["rows"])
        lines.append(
            (
                f"{one['rows']:,}",
                one["tool"],
                one["case"],
                f"{seconds:,.2f}",
                str(len(one["seconds"])),
                f"{one['rows'] / seconds:,.0f}" if one["case"] == FIRST else "",
                f"{seconds / ours:.2f}" if ours else "",
                f"{median(one['peak_mb']):,.0f}",
                f"{median(one['requests']):,.0f}",
                f"{median(one['landed']):,.0f}",
            )
        )
    head = ("rows", "tool", "case", "seconds", "runs", "rows a second", "of dbt-pendo's first load", "peak MB")
    return _table((*head, "requests", "rows landed"), lines, numbers_from=3)


def delivering_lines(read: Results) -> str:
    """Returns how fast dbt-pendo is between the change set and the last commit."""
    return "\n".join(
        f"dbt-pendo, {one['rows']:,} rows, from change set to commit: "
        f"{one['rows'] / median(one['delivering']):,.0f} rows a second."
        for one in read.measured
        if "delivering" in one and median(one["delivering"])
    )


def targets(read: Results) -> list[Target]:
    """Returns the targets for which something was measured."""
    return [*first_load_targets(read), *later_targets(read), *check_targets(read)]


def first_load_targets(read: Results) -> list[Target]:
    found = []
    for rows, name, faster in ((1_000_000, "1M", 3), (5_000_000, "5M", 3.5)):
        ours, drt = read.figure("seconds", rows), read.figure("seconds", rows, "drt")
        if ours and drt:
            ratio = drt / ours
            found.append(Target(f"first load, {name}", f"≥ {faster}x as fast as drt", f"{ratio:.2f}x", ratio >= faster))
    ours, floor = read.figure("seconds", 1_000_000), read.figure("seconds", 1_000_000, FLOOR)
    if ours and floor:
        share = ours / floor
        found.append(Target("first load, 1M", "≤ 1.3x the floor's time", f"{share:.2f}x", share <= 1.3))
    return found


def later_targets(read: Results) -> list[Target]:
    found = []
    for case, most in (("nothing changed", 2.3), ("0.1 % changed", 2.6)):
        if (took := read.figure("seconds", 1_000_000, case=case)) is not None:
            found.append(Target(f"{case}, 1M", f"≤ {most} s", f"{took:.2f} s", took <= most))
    for tool in (OURS, LIMITED):
        peaks = [read.figure("peak_mb", 5_000_000, tool, case) for case in (FIRST, "nothing changed", "0.1 % changed")]
        if peak := max(filter(None, peaks), default=0):
            found.append(Target(f"{tool}, all cases, 5M", "≤ 700 MB at the peak", f"{peak:,.0f} MB", peak <= 700))
    if read.plan:
        took = read.plan["seconds"]
        found.append(Target(f"plan, {read.plan['rows']:,} rows", "≤ 9 s", f"{took:.1f} s", took <= 9))
    if read.start:
        took = median(read.start["adapter"])
        found.append(Target("start to an open adapter", "≤ 1.35 s of CPU", f"{took:.2f} s", took <= 1.35))
    return found


def check_targets(read: Results) -> list[Target]:
    if not read.check:
        return []
    case, took = f"check --offline, {read.check['models']:,} models", median(read.check["seconds"])
    imported = read.check["dbt_imported"]
    return [
        Target(case, "≤ 1.5 s", f"{took:.2f} s", took <= 1.5),
        Target(case, "dbt not imported", "imported" if imported else "not imported", not imported),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None) -> str:
    rule = ["---:" if numbers_from is not None and i >= numbers_from else "---" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


# The picture: rows a second against N.

WIDTH, HEIGHT = 860, 440
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 44, 48
STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px } .axis { fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 } polyline { fill: none; stroke-width: 2.5 }
.t0 { stroke: #0550ae } .t1 { stroke: #6e7781; stroke-dasharray: 6 4 } .t2 { stroke: #bc4c00 }
.t3 { stroke: #9a6700 } .t4 { stroke: #8250df } .t5 { stroke: #1a7f37 }
text.t0, text.t1, text.t2, text.t3, text.t4, text.t5 { stroke: none }
text.t0 { fill: #0550ae; font-weight: 600 } text.t1 { fill: #57606a } text.t2 { fill: #bc4c00 }
text.t3 { fill: #9a6700 } text.t4 { fill: #8250df } text.t5 { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .axis, text.t1 { fill: #9da7b3 } .grid { stroke: #3d444d }
.t0 { stroke: #6cb6ff } .t1 { stroke: #9da7b3 } .t2 { stroke: #f69d50 }
.t3 { stroke: #daaa3f } .t4 { stroke: #b083f0 } .t5 { stroke: #57ab5a }
text.t0 { fill: #6cb6ff } text.t2 { fill: #f69d50 } text.t3 { fill: #daaa3f } text.t4 { fill: #b083f0 }
text.t5 { fill: #57ab5a }
}
"""


def picture(results: Mapping[str, Any]) -> str:
    """Returns the SVG: a line for each tool, N on a logarithmic axis."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for one in results["measured"]:
        if one["case"] == FIRST:
            lines.setdefault(one["tool"], []).append((one["rows"], one["rows"] / median(one["seconds"])))
    sizes = sorted({rows for points in lines.values() for rows, _ in points})
    step = _step(max(speed for points in lines.values() for _, speed in points))
    top = step * math.ceil(max(speed for points in lines.values() for _, speed in points) / step)
    span = math.log(sizes[-1] / sizes[0]) or 1.0

    def x(rows: int) -> float:
        return LEFT + math.log(rows / sizes[0]) / span * (WIDTH - LEFT - RIGHT)

    def y(speed: float) -> float:
        return HEIGHT - BOTTOM - speed / top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text class="title" x="{LEFT}" y="24">First load: rows a second, by the number of rows</text>']
    for i in range(round(top / step) + 1):
        at = y(i * step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="axis" text-anchor="end" x="{LEFT - 8}" y="{at + 4:.1f}">{i * step:,.0f}</text>')
    for rows in sizes:
        parts.append(
            f'<text class="axis" text-anchor="middle" x="{x(rows):.1f}" y="{HEIGHT - BOTTOM + 22}">{rows:,}</text>'
        )
    labels = _apart({tool: y(points[-1][1]) for tool, points in lines.items()})
    for i, (tool, points) in enumerate(lines.items()):
        path = " ".join(f"{x(rows):.1f},{y(speed):.1f}" for rows, speed in points)
        parts.append(f'<polyline class="t{i}" points="{path}"/>')
        parts.append(f'<text class="t{i}" x="{WIDTH - RIGHT + 10}" y="{labels[tool] + 4:.1f}">{tool}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _step(top: float) -> float:
    """Returns a round distance between grid lines, for about five of them."""
    power = 10 ** math.floor(math.log10(top / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 6 >= top)


def _apart(wanted: Mapping[str, float], gap: float = 17) -> dict[str, float]:
    """Returns heights near those wanted at which labels do not overlap."""
    placed: dict[str, float] = {}
    # From below upwards: there is room above, but none under the axis.
    lowest = math.inf
    for name, height in sorted(wanted.items(), key=lambda item: -item[1]):
        placed[name] = lowest = min(height, lowest - gap)
    return placed


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text())
    (DOCS / "performance.svg").write_text(picture(results), encoding="utf-8")
    page = DOCS / "performance.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    image = "![Rows a second of a first load, by the number of rows](performance.svg)"
    page.write_text(f"{before}{BEGIN}\n\n{image}\n\n{text(results)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
