// Runs from left to right, the latest on the right, with a lane for each number of them. A lane is logarithmic up to
// its largest number, so that one first load flattens nothing.

// Pixels: between lanes, around them, of the narrowest and widest place of a run, and between lines at powers of ten.
const [GAP, LEFT, RIGHT, TOP, BOTTOM, NARROWEST, WIDEST, APART] = [9, 78, 6, 16, 34, 2, 80, 8];
const LANES = [
  ["delivered", 60],
  ["missing", 24],
  ["rejected", 24],
  ["invalid", 24],
  ["held", 24],
  ["duration", 24],
];
const shownNumber = (kind, value) => (kind === "duration" ? seconds(value) : number(value));

// `runs` are drawn in `root`, the latest first, by the numbers of one sync or of all.
function chart(root, runs, sync) {
  const points = runs
    .map((run) => ({ run, syncs: run.syncs.filter((each) => sync === null || each.sync === sync) }))
    .filter(({ syncs }) => syncs.length)
    .reverse()
    .map(({ run, syncs }) => {
      const sums = LANES.map(([kind]) => syncs.reduce((sum, each) => sum + each[kind], 0));
      const failed = syncs.filter((each) => FAILED.has(each.status)).length;
      const lines = [
        `${run.began_at}: ${run.status}`,
        ...LANES.map(([kind], at) => `${kind}: ${shownNumber(kind, sums[at])}`),
        ...(failed ? [`${count(failed, "sync")} failed`] : []),
      ];
      return { run, sums, failed, lines };
    });
  const [titleId, descId] = [newId("title"), newId("desc")];
  const tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
  const holder = el("div", { class: "plot" });
  const about = el("span", { class: "muted" });
  const marks = points.some((point) => point.failed);
  root.classList.add("chart");
  root.replaceChildren(
    el(
      "div",
      { class: "head" },
      el("h3", {}, sync === null ? "Rows and seconds of each run" : clipped(sync)),
      about,
      marks ? el("span", {}, el("strong", { class: "cross", "aria-hidden": "true" }, "✕"), " a sync failed") : "",
    ),
    holder,
    tip,
  );

  function draw() {
    const width = Math.max(240, holder.clientWidth);
    const inner = width - LEFT - RIGHT;
    const drawn = points.slice(-Math.floor(inner / NARROWEST));
    const slot = Math.min(WIDEST, inner / Math.max(1, drawn.length));
    const bar = slot > 4 ? Math.min(30, slot * 0.72) : slot;
    const xOf = (at) => width - RIGHT - slot * (drawn.length - at);
    const height = TOP + LANES.reduce((sum, [, tall]) => sum + tall + GAP, 0) + BOTTOM - GAP;
    const part = drawn.length < points.length ? `, the latest ${drawn.length} of ${points.length}` : "";
    about.textContent = `logarithmic scale${part}`;
    let under = TOP - GAP;
    const lanes = LANES.map(([kind, tall], at) => {
      under += tall + GAP;
      const most = Math.max(0, ...drawn.map((point) => point.sums[at]));
      const foot = under;
      const high = (value) => (most ? (tall * Math.log1p(value)) / Math.log1p(most) : 0);
      return { kind, tall, most, foot, high };
    });
    const text = (x, y, what, anchor = "end", kind = "axis") =>
      svg("text", { x, y, "text-anchor": anchor, class: kind }, what);
    const rule = (y) => svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "rule" });
    const picture = svg(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        role: "group",
        "aria-labelledby": titleId,
        "aria-describedby": descId,
      },
      svg("title", { id: titleId }, "Runs"),
      svg("desc", { id: descId }, "Rows and seconds of each run. Arrow keys go from run to run, Enter to the run."),
      lanes.map(({ kind, tall, most, foot, high }) => [
        rule(foot),
        most ? rule(foot - tall) : null,
        tens(most, tall).map((value) => rule(foot - high(value))),
        text(LEFT - 6, foot - tall / 2, kind, "end", "lane"),
        text(
          LEFT - 6,
          foot - tall / 2 + 12,
          most ? `max ${kind === "duration" ? seconds(most) : compact(most)}` : "none",
        ),
      ]),
    );
    drawn.forEach((point, at) => {
      const x = xOf(at);
      picture.append(
        svg(
          "a",
          {
            class: "slot",
            href: `#run-${encodeURIComponent(point.run.run_id)}`,
            tabindex: at === drawn.length - 1 ? "0" : "-1",
            "aria-label": point.lines.join(", "),
            onmouseenter: () => point_at(at),
            onfocus: () => point_at(at),
            onmouseleave: hide,
            onblur: hide,
          },
          svg("rect", { x, y: TOP, width: slot, height: height - TOP - BOTTOM, class: "hit" }),
          lanes.map(({ kind, foot, high }, place) => {
            const value = point.sums[place];
            if (!value) return null;
            // A bar that is there is to be seen.
            const tall = Math.max(2, high(value));
            return svg("rect", {
              x: x + (slot - bar) / 2,
              y: foot - tall,
              width: bar,
              height: tall,
              class: `fill-${kind}`,
            });
          }),
          point.failed ? text(x + slot / 2, TOP - 4, "✕", "middle", "mark") : null,
        ),
      );
    });
    // Times below the bars from right to left, where there is room; the day where it is another than the one before.
    const labelled = [];
    for (let at = drawn.length - 1, free = width; at >= 0; at -= 1) {
      const x = Math.min(Math.max(xOf(at) + slot / 2, LEFT + 30), width - RIGHT - 32);
      if (x > free) continue;
      labelled.unshift([x, drawn[at].run.began_at]);
      free = x - 76;
    }
    labelled.forEach(([x, began], at) => {
      const day = began.slice(0, 10);
      picture.append(text(x, height - BOTTOM + 15, began.slice(11, 16), "middle"));
      if (!at || labelled[at - 1][1].slice(0, 10) !== day) picture.append(text(x, height - BOTTOM + 29, day, "middle"));
    });
    let current = drawn.length - 1;
    picture.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: drawn.length - 1 }[event.key];
      if (to === undefined || !drawn[to]) return;
      event.preventDefault();
      const slots = picture.querySelectorAll(".slot");
      slots[current].setAttribute("tabindex", "-1");
      current = to;
      slots[to].setAttribute("tabindex", "0");
      slots[to].focus();
    });
    holder.replaceChildren(picture);

    function point_at(at) {
      tip.textContent = drawn[at].lines.join("\n");
      tip.hidden = false;
      const middle = holder.offsetLeft + xOf(at) + slot / 2;
      const right = middle + 14 + tip.offsetWidth < root.clientWidth;
      tip.style.left = `${Math.max(4, right ? middle + 14 : middle - 14 - tip.offsetWidth)}px`;
      tip.style.top = `${holder.offsetTop + TOP}px`;
    }
    function hide() {
      tip.hidden = true;
    }
  }
  let before = 0;
  new ResizeObserver(() => {
    if (before === holder.clientWidth || !holder.clientWidth) return;
    before = holder.clientWidth;
    draw();
  }).observe(holder);
}
// The powers of ten below the largest number of a lane, if there is room for lines at them.
function tens(most, tall) {
  const found = [];
  for (let value = 10; value < most; value *= 10) found.push(value);
  return found.length * APART < tall ? found : [];
}
