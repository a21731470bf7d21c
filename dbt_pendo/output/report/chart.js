// Bars over time: one place a run, the latest on the right.

const hatched = new Set(["rejected"]);
const swatch = (kind) => {
  const id = newId("hatch");
  return svg(
    "svg",
    { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" },
    hatch(id, kind),
    svg("rect", { width: 14, height: 14, rx: 3, ...paint(id, kind) }),
  );
};
const hatch = (id, kind) =>
  hatched.has(kind)
    ? svg(
        "defs",
        {},
        svg(
          "pattern",
          {
            id,
            width: 6,
            height: 6,
            patternUnits: "userSpaceOnUse",
            patternTransform: "rotate(45)",
          },
          svg("rect", { width: 6, height: 6, class: `fill-${kind}` }),
          svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch" }),
        ),
      )
    : null;
const paint = (id, kind) => (hatched.has(kind) ? { fill: `url(#${id})` } : { class: `fill-${kind}` });

function ceiling(most, whole) {
  if (most <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  const found = [1, 2, 4, 5, 8, 10].map((step) => step * unit).find((step) => step >= most);
  return whole ? Math.max(2, Math.ceil(found / 2) * 2) : found;
}

function chart({ title, about, series, points, format, whole = true, empty, height = 150 }) {
  const [titleId, descId, hatchId] = [newId("title"), newId("desc"), newId("hatch")];
  const tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
  const holder = el("div", { class: "plot" });
  const marks = points.filter((point) => point.mark).length;
  const line = (point, separator) =>
    [
      point.label,
      ...series.map((one, at) => `${one.title}: ${format(point.values[at])}`),
      ...(point.note ? [point.note] : []),
    ].join(separator);
  const alternative = el("details", { class: "alt" }, el("summary", {}, "As a table"));
  alternative.addEventListener("toggle", () => {
    if (alternative.childElementCount > 1) return;
    alternative.append(
      plainTable(
        title,
        [["Run (UTC)"], ...series.map((one) => [one.title, "number"]), [""]],
        points
          .toReversed()
          .map((point) => [
            el("span", { class: "nowrap" }, point.label),
            ...point.values.map((each) => format(each)),
            point.note,
          ]),
      ),
    );
  });
  const root = el("figure", { class: "card chart" });
  root.append(
    el(
      "div",
      { class: "head" },
      el("h3", {}, title),
      el(
        "ul",
        { class: "legend" },
        series.map((one) => el("li", {}, swatch(one.kind), one.title)),
        marks ? el("li", {}, el("strong", { class: "cross", "aria-hidden": "true" }, "✕"), "a sync failed") : null,
      ),
    ),
    holder,
    tip,
    alternative,
  );
  let current = points.length - 1;

  function draw() {
    const width = Math.max(240, root.clientWidth - 36);
    const [left, right, top, bottom] = [44, 6, 16, 22];
    const inner = { width: width - left - right, height: height - top - bottom };
    const most = Math.max(0, ...points.map((point) => point.values.reduce((sum, each) => sum + each, 0)));
    const limit = ceiling(most, whole);
    const y = (amount_) => top + inner.height * (1 - amount_ / limit);
    const slot = inner.width / Math.max(1, points.length);
    const bar = Math.max(1, Math.min(34, slot * 0.72));
    const labels = Math.max(1, Math.min(points.length, Math.floor(inner.width / 110)));
    const every = Math.ceil(points.length / labels);
    const picture = svg(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        role: "group",
        "aria-labelledby": titleId,
        "aria-describedby": descId,
      },
      svg("title", { id: titleId }, title),
      svg("desc", { id: descId }, `${about} Arrow keys go from run to run.`),
      series.map((one, at) => hatch(`${hatchId}-${at}`, one.kind)),
      [0, 0.5, 1].map((share) => [
        svg("line", { x1: left, x2: width - right, y1: y(limit * share), y2: y(limit * share), class: "rule" }),
        svg(
          "text",
          { x: left - 6, y: y(limit * share) + 4, "text-anchor": "end", class: "axis" },
          whole ? compact(limit * share) : `${Number((limit * share).toPrecision(2))}`,
        ),
      ]),
    );
    points.forEach((point, at) => {
      const x = left + slot * at;
      let under = 0;
      const group = svg(
        "g",
        {
          class: "slot",
          role: "img",
          tabindex: at === current ? "0" : "-1",
          "aria-label": line(point, ", "),
          onmouseenter: () => point_at(at),
          onfocus: () => point_at(at),
          onmouseleave: hide,
          onblur: hide,
        },
        svg("rect", { x, y: top, width: slot, height: inner.height, class: "hit" }),
        point.values.map((each, index) => {
          if (!each) return null;
          const [base, peak] = [y(under), y(under + each)];
          under += each;
          // A bar that is there is to be seen.
          const tall = Math.max(1.5, base - peak);
          return svg("rect", {
            x: x + (slot - bar) / 2,
            y: base - tall,
            width: bar,
            height: tall,
            ...paint(`${hatchId}-${index}`, series[index].kind),
          });
        }),
        point.mark
          ? svg(
              "text",
              { x: x + slot / 2, y: Math.max(top - 3, y(under) - 4), "text-anchor": "middle", class: "mark" },
              "✕",
            )
          : null,
      );
      picture.append(group);
      if ((points.length - 1 - at) % every === 0) {
        const end = at === points.length - 1 && slot < 70;
        picture.append(
          svg(
            "text",
            {
              x: end ? width - right : x + slot / 2,
              y: height - 6,
              "text-anchor": end ? "end" : "middle",
              class: "axis",
            },
            point.short,
          ),
        );
      }
    });
    if (empty && most === 0 && !marks) {
      picture.append(
        svg(
          "text",
          { x: left + inner.width / 2, y: top + inner.height / 2, "text-anchor": "middle", class: "axis" },
          empty,
        ),
      );
    }
    picture.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: points.length - 1 }[event.key];
      if (to === undefined || !points[to]) return;
      event.preventDefault();
      const slots = picture.querySelectorAll(".slot");
      slots[current].setAttribute("tabindex", "-1");
      current = to;
      slots[to].setAttribute("tabindex", "0");
      slots[to].focus();
    });
    holder.replaceChildren(picture);

    function point_at(at) {
      tip.textContent = line(points[at], "\n");
      tip.hidden = false;
      const scale = picture.clientWidth / width;
      const middle = holder.offsetLeft + (left + slot * (at + 0.5)) * scale;
      const most_left = root.clientWidth - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(4, Math.min(most_left, middle - tip.offsetWidth / 2))}px`;
      tip.style.top = `${holder.offsetTop + height * scale - 14}px`;
    }
    function hide() {
      tip.hidden = true;
    }
  }
  let drawn = 0;
  new ResizeObserver(() => {
    if (drawn === root.clientWidth) return;
    drawn = root.clientWidth;
    draw();
  }).observe(root);
  return root;
}
