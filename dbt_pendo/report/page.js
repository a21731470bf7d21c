"use strict";
// Values come from warehouses, users and Pendo. They become text (`append`, `textContent`), never markup, and no
// attribute that does anything: ids, classes and links are of this file's own making.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  let bodies = null;
  const bodyOf = (at) => {
    bodies ??= JSON.parse(document.getElementById("bodies").textContent);
    return bodies[at];
  };

  // Elements.

  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  };
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const bodyOfSection = (name) => document.querySelector(`#${name} .body`);
  let ids = 0;
  const newId = (word) => `${word}-${++ids}`;

  // Words.

  const OBJECTS = {
    visitor: "Visitors", account: "Accounts", parent_account: "Parent accounts", track_event: "Track events",
    segment: "Segments",
  };
  const STATUSES = {
    success: ["✓", "good"], delivered: ["✓", "good"], partial: ["◐", "warn"], missing: ["?", "warn"],
    invalid: ["!", "warn"], skipped: ["–", "plain"], interrupted: ["‖", "bad"], blocked: ["■", "bad"],
    error: ["✕", "bad"], rejected: ["✕", "bad"],
  };
  const RANKS = ["skipped", "success", "partial", "interrupted", "blocked", "error"];
  const FAILED = new Set(["error", "blocked", "interrupted"]);
  const ORDER = ["rejected", "missing", "invalid"];
  const LONGEST_CELL = 240;

  const number = (value) => value.toLocaleString("en");
  const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
  const compact = (value) =>
    new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
  const seconds = (value) => {
    if (value < 10) return `${value.toFixed(2)} s`;
    if (value < 120) return `${value.toFixed(1)} s`;
    return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  };
  const moment = (text) => (text ? text.replace("T", " ").slice(0, 19) : "");
  const time = (text) => el("time", { datetime: text, class: "nowrap" }, moment(text));
  const since = (text, now) => {
    const passed = Math.max(0, (now - Date.parse(text)) / 1000);
    const steps = [[60, 120, "minute"], [3600, 48, "hour"], [86400, 14, "day"], [604800, 9, "week"]];
    if (passed < 60) return "less than a minute";
    for (const [unit, most, noun] of steps) {
      if (passed < unit * most) return count(Math.floor(passed / unit), noun);
    }
    return count(Math.floor(passed / 2629800), "month");
  };
  const madeAt = Date.parse(data.made_at);
  const age = (text) => (text ? `${since(text, madeAt)} ago` : "never");
  const clipped = (text) => (text.length > LONGEST_CELL ? `${text.slice(0, LONGEST_CELL)}…` : text);
  // A short one stays in one piece, or narrow tables break it after every other letter.
  const value = (text, mono) => el("span", {
    class: `value${mono ? " mono" : ""}${text.length <= 28 ? " nowrap" : ""}`,
  }, clipped(text));
  const pill = (status) => {
    const [glyph, kind] = STATUSES[status] ?? ["•", "plain"];
    return el("span", { class: `pill ${kind}` }, el("span", { "aria-hidden": "true" }, glyph), status);
  };
  const amount = (value_) => el("span", { class: value_ ? "" : "zero" }, number(value_));
  const worst = (statuses) => RANKS.findLast((rank) => statuses.includes(rank)) ?? "success";
  const startOf = (run) => (run ? run.began_at : "");

  // A table to search, filter, sort and page through. Only one page of it is ever in the document.

  const PAGE = 50;

  function table({ name, caption, columns, rows, filters = [], text, detail, sorted, empty, page = PAGE }) {
    const state = { words: [], sort: sorted, page: 0, open: new Map() };
    const known = new Map();
    let shown = rows;
    const found = el("p", { role: "status", class: "muted found" });
    const head = el("tr");
    const body = el("tbody");
    const region = el(
      "div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      el("table", {}, el("caption", { class: "hidden-text" }, caption), el("thead", {}, head), body),
    );
    const steps = [["First", () => 0], ["Previous", () => state.page - 1], ["Next", () => state.page + 1],
      ["Last", () => last()]].map(([label, to]) =>
      el("button", { type: "button", class: "plain", onclick: () => turn(to()) }, label));
    const where = el("span", { class: "muted" });
    const pages = el("div", { class: "pages" }, steps.slice(0, 2), where, steps.slice(2));
    const controls = el("div", { class: "controls" });
    const root = el("div", { id: name, class: "listing" }, controls, region, el("div", { class: "below" }, found, pages));
    const last = () => Math.max(0, Math.ceil(shown.length / page) - 1);

    let search = null;
    if (text) {
      let waiting = 0;
      const now = () => {
        clearTimeout(waiting);
        state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        find();
      };
      search = el("input", {
        type: "search", spellcheck: "false", autocomplete: "off",
        oninput: () => { clearTimeout(waiting); waiting = setTimeout(now, 150); },
        onkeydown: (event) => {
          if (event.key === "Enter") now();
          if (event.key === "Escape" && search.value) { search.value = ""; now(); event.preventDefault(); }
        },
      });
      controls.append(el("label", { class: "search" }, "Search", search));
    }
    const selects = filters.map(({ label, options, all = "all", initial = "" }) => {
      const select = el("select", { onchange: () => find() }, el("option", { value: "" }, all));
      // An option stands for its place: its value is of this file's making.
      options.forEach(([title], at) => select.append(el("option", { value: String(at) }, clipped(title))));
      select.value = initial;
      controls.append(el("label", {}, label, select));
      return select;
    });
    if (!controls.firstChild) controls.remove();

    columns.forEach((column, at) => {
      const mark = el("span", { "aria-hidden": "true" });
      const sort = () => {
        const again = state.sort?.at === at;
        state.sort = { at, down: again ? !state.sort.down : Boolean(column.number) };
        find();
      };
      head.append(el(
        "th", { scope: "col", class: column.number ? "number" : "" },
        column.by ? el("button", { type: "button", onclick: sort }, column.title, mark) : column.title,
      ));
    });

    function haystack(row) {
      if (!known.has(row)) known.set(row, text(row).toLowerCase());
      return known.get(row);
    }
    function find() {
      const tests = selects.flatMap((select, at) =>
        select.value === "" ? [] : [filters[at].options[Number(select.value)][1]]);
      shown = rows.filter((row) =>
        tests.every((test) => test(row)) && state.words.every((word) => haystack(row).includes(word)));
      if (state.sort) {
        const { by } = columns[state.sort.at];
        const sign = state.sort.down ? -1 : 1;
        // What has no value comes last, whichever way.
        shown.sort((one, other) => {
          const [a, b] = [by(one), by(other)];
          if (a === b) return 0;
          if (a === null || a === "") return 1;
          if (b === null || b === "") return -1;
          return a < b ? -sign : sign;
        });
      }
      state.page = 0;
      draw();
    }
    function turn(to) {
      state.page = Math.min(Math.max(0, to), last());
      draw();
      region.scrollTop = 0;
      if (root.getBoundingClientRect().top < 0) root.scrollIntoView();
    }
    function draw() {
      head.querySelectorAll("th").forEach((th, at) => {
        const mine = state.sort?.at === at;
        if (!columns[at].by) return;
        th.setAttribute("aria-sort", mine ? (state.sort.down ? "descending" : "ascending") : "none");
        th.querySelector("button span").textContent = mine ? (state.sort.down ? "▾" : "▴") : "";
      });
      const from = state.page * page;
      const part = shown.slice(from, from + page);
      state.open.clear();
      body.replaceChildren(...part.map(drawRow));
      if (!part.length) {
        body.append(el("tr", {}, el("td", { colspan: String(columns.length), class: "empty" },
          rows.length ? "Nothing matches." : empty)));
      }
      const all = number(rows.length);
      const of = shown.length === rows.length ? all : `${number(shown.length)} ${shown.length === 1 ? "match" : "matches"}, ${all} in all`;
      found.textContent = shown.length ? `${number(from + 1)} to ${number(from + part.length)} of ${of}` : `0 matches, ${all} in all`;
      found.hidden = !rows.length;
      pages.hidden = last() === 0;
      where.textContent = `Page ${number(state.page + 1)} of ${number(last() + 1)}`;
      steps.forEach((step, at) => { step.disabled = at < 2 ? state.page === 0 : state.page === last(); });
    }
    function drawRow(row) {
      const tr = el("tr");
      columns.forEach((column, at) => {
        let content = column.cell(row);
        if (at === 0 && detail) {
          const twist = el("button", {
            type: "button", class: "twist", "aria-expanded": "false", "aria-label": "Details",
            onclick: () => toggle(row),
          }, "▸");
          state.open.set(row, { tr, twist, more: null });
          content = el("div", { class: "first" }, twist, content);
        }
        tr.append(el("td", { class: column.number ? "number" : column.class ?? "" }, content));
      });
      return tr;
    }
    function toggle(row) {
      const drawn = state.open.get(row);
      const opens = !drawn.more;
      if (opens) {
        drawn.more = el("tr", { class: "more" }, el("td", { colspan: String(columns.length) },
          el("div", { class: "inside" }, detail(row))));
        drawn.tr.after(drawn.more);
      } else {
        drawn.more.remove();
        drawn.more = null;
      }
      drawn.tr.classList.toggle("open", opens);
      drawn.twist.setAttribute("aria-expanded", String(opens));
      drawn.twist.textContent = opens ? "▾" : "▸";
    }
    // Shows one row, opened, whatever was looked for before.
    function reveal(row) {
      clear();
      state.page = Math.max(0, Math.floor(shown.indexOf(row) / page));
      draw();
      const drawn = state.open.get(row);
      if (!drawn) return;
      toggle(row);
      drawn.tr.scrollIntoView({ block: "center" });
      drawn.twist.focus({ preventScroll: true });
    }
    // Sets filters by their places in `filters` and `options`.
    function clear(wanted = {}) {
      if (search) { search.value = ""; state.words = []; }
      selects.forEach((select, at) => { select.value = String(wanted[at] ?? ""); });
      find();
    }
    find();
    return { root, reveal, clear, search };
  }

  // A small table that is there as a whole.

  const plainTable = (caption, titles, rows) => el(
    "div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    el("table", {},
      el("caption", { class: "hidden-text" }, caption),
      el("thead", {}, el("tr", {}, titles.map(([title, kind]) => el("th", { scope: "col", class: kind ?? "" }, title)))),
      el("tbody", {}, rows.map((row) =>
        el("tr", {}, row.map((cell, at) => el("td", { class: titles[at][1] ?? "" }, cell)))))));
  const facts = (entries) => el("dl", { class: "facts" }, entries.map(([name, text]) =>
    [el("dt", {}, name), el("dd", {}, text)]));

  // Bars over time: one place a run, the latest on the right.

  const hatched = new Set(["rejected"]);
  const swatch = (kind) => {
    const id = newId("hatch");
    return svg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" }, hatch(id, kind),
      svg("rect", { width: 14, height: 14, rx: 3, ...paint(id, kind) }));
  };
  const hatch = (id, kind) => (hatched.has(kind) ? svg("defs", {}, svg("pattern", {
    id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
  }, svg("rect", { width: 6, height: 6, class: `fill-${kind}` }),
  svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch" }))) : null);
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
    const line = (point, separator) => [point.label,
      ...series.map((one, at) => `${one.title}: ${format(point.values[at])}`), ...(point.note ? [point.note] : [])]
      .join(separator);
    const alternative = el("details", { class: "alt" }, el("summary", {}, "As a table"));
    alternative.addEventListener("toggle", () => {
      if (alternative.childElementCount > 1) return;
      alternative.append(plainTable(title, [["Run (UTC)"], ...series.map((one) => [one.title, "number"]), [""]],
        points.toReversed().map((point) => [el("span", { class: "nowrap" }, point.label),
          ...point.values.map((each) => format(each)), point.note])));
    });
    const root = el("figure", { class: "card chart" });
    root.append(
      el("div", { class: "head" }, el("h3", {}, title), el("ul", { class: "legend" },
        series.map((one) => el("li", {}, swatch(one.kind), one.title)),
        marks ? el("li", {}, el("span", { class: "pill bad" }, "✕"), "a sync failed") : null)),
      holder, tip, alternative);
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
      const picture = svg("svg", {
        viewBox: `0 0 ${width} ${height}`, role: "group", "aria-labelledby": titleId, "aria-describedby": descId,
      }, svg("title", { id: titleId }, title), svg("desc", { id: descId }, `${about} Arrow keys go from run to run.`),
      series.map((one, at) => hatch(`${hatchId}-${at}`, one.kind)),
      [0, 0.5, 1].map((share) => [
        svg("line", { x1: left, x2: width - right, y1: y(limit * share), y2: y(limit * share), class: "rule" }),
        svg("text", { x: left - 6, y: y(limit * share) + 4, "text-anchor": "end", class: "axis" },
          whole ? compact(limit * share) : `${Number((limit * share).toPrecision(2))}`),
      ]));
      points.forEach((point, at) => {
        const x = left + slot * at;
        let under = 0;
        const group = svg("g", {
          class: "slot", role: "img", tabindex: at === current ? "0" : "-1", "aria-label": line(point, ", "),
          onmouseenter: () => point_at(at), onfocus: () => point_at(at), onmouseleave: hide, onblur: hide,
        }, svg("rect", { x, y: top, width: slot, height: inner.height, class: "hit" }),
        point.values.map((each, index) => {
          if (!each) return null;
          const [base, peak] = [y(under), y(under + each)];
          under += each;
          // A bar that is there is to be seen.
          const tall = Math.max(1.5, base - peak);
          return svg("rect", { x: x + (slot - bar) / 2, y: base - tall, width: bar, height: tall,
            ...paint(`${hatchId}-${index}`, series[index].kind) });
        }),
        point.mark ? svg("text", { x: x + slot / 2, y: Math.max(top - 3, y(under) - 4), "text-anchor": "middle", class: "mark" }, "✕") : null);
        picture.append(group);
        if ((points.length - 1 - at) % every === 0) {
          const end = at === points.length - 1 && slot < 70;
          picture.append(svg("text", { x: end ? width - right : x + slot / 2, y: height - 6,
            "text-anchor": end ? "end" : "middle", class: "axis" }, point.short));
        }
      });
      if (empty && most === 0 && !marks) {
        picture.append(svg("text", { x: left + inner.width / 2, y: top + inner.height / 2, "text-anchor": "middle",
          class: "axis" }, empty));
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
      function hide() { tip.hidden = true; }
    }
    let drawn = 0;
    new ResizeObserver(() => {
      if (drawn === root.clientWidth) return;
      drawn = root.clientWidth;
      draw();
    }).observe(root);
    return root;
  }

  // JSON with line breaks. The text itself is kept: as numbers of JavaScript some would lose digits.

  function pretty(text) {
    try { JSON.parse(text); } catch { return text; }
    const parts = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
    const out = [];
    let depth = 0;
    parts.forEach((part, at) => {
      const before = parts[at - 1];
      if (part === "}" || part === "]") {
        depth -= 1;
        if (before !== "{" && before !== "[") out.push("\n", "  ".repeat(depth));
      } else if (before === "{" || before === "[" || before === ",") {
        out.push("\n", "  ".repeat(depth));
      }
      out.push(part);
      if (part === "{" || part === "[") depth += 1;
      if (part === ":") out.push(" ");
    });
    return out.join("");
  }

  // The page.

  const runs = data.runs;
  const runById = new Map(runs.map((run) => [run.id, run]));
  const syncNames = [...new Set([...data.syncs.map((sync) => sync.name), ...data.rows.items.map((row) => row[0])])];
  const callAt = new Map(data.calls.items.map((call) => [`${call.run} ${call.number}`, call]));
  const SUMS = ["delivered", "missing", "rejected", "invalid", "held", "requests", "retries", "duration"];
  const RESULTS = ["added", "changed", "removed", "delivered", "missing", "rejected", "invalid"];
  const summed = (run, syncs) => ({
    run, syncs, status: worst(syncs.map((sync) => sync.status)),
    failed: syncs.filter((sync) => FAILED.has(sync.status)).length,
    ...Object.fromEntries(SUMS.map((name) => [name, syncs.reduce((sum, sync) => sum + sync[name], 0)])),
  });
  const [KEY, STATUS, DETAIL, ATTEMPTS, RUN, AT, CALL] = [1, 2, 3, 4, 5, 6, 7];
  let rowsTable = null;
  let callsTable = null;

  function drawHead() {
    document.getElementById("project").textContent = data.project;
    document.title = `${data.project}: dbt-pendo report`;
    const old = Date.now() - madeAt > 36 * 3600 * 1000;
    document.getElementById("made").append(
      `Made ${moment(data.made_at)} UTC${old ? ` (${since(data.made_at, Date.now())} ago)` : ""}, of `
      + `${count(runs.length, "run")}; ages are those of that moment.`);
    document.getElementById("made-by").textContent =
      `dbt-pendo ${data.version}. All times are in UTC. This file fetches nothing and sends nothing.`;
  }

  const notice = (text) => el("p", { class: "notice" }, text);
  const tile = (title, big, ...below) =>
    el("div", { class: "card tile" }, el("dl", {}, el("dt", {}, title), el("dd", { class: "big" }, big),
      below.map((each) => el("dd", { class: "muted" }, each))));

  function drawOverview() {
    const at = bodyOfSection("overview");
    if (data.note) at.append(notice(data.note));
    if (!runs.length) at.append(notice("No run is logged yet. `dbt-pendo sync` makes the first."));
    const rows = data.rows.items;
    if (runs.length) {
      const latest = runs[0];
      const kinds = ORDER.map((status) =>
        [status, rows.filter((row) => row[STATUS] === status).length]).filter(([, found]) => found);
      const calls = data.calls.items.filter((call) => call.run === latest.id);
      const failing = data.syncs.filter((sync) => sync.last && FAILED.has(sync.last.status)).length;
      const { delivered } = summed(latest, latest.syncs);
      at.append(el("div", { class: "grid tiles" },
        tile("Latest run", pill(latest.status), `${age(`${latest.began_at.replace(" ", "T")}Z`)}, ${count(delivered, "row")} delivered`),
        tile("Syncs", number(data.syncs.length), failing ? `${number(failing)} failed when last run` : "none failed when last run"),
        tile("Rows not delivered", `${number(rows.length)}${data.rows.limit ? "+" : ""}`,
          kinds.map(([status, found]) => `${number(found)} ${status}`).join(", ") || "all rows are in Pendo"),
        tile("Calls of the latest run", data.calls.kept.includes(latest.id) ? number(calls.length) : "–",
          data.calls.kept.includes(latest.id) ? `${number(calls.filter((call) => call.failed).length)} failed` : "not kept on this machine")));
    }
    if (!data.syncs.length) return;
    at.append(el("div", { class: "card" }, el("h3", {}, "How fresh each object is"), el("p", { class: "muted" },
      "A sync is as fresh as its last run that came to its end, whatever became of single rows."),
    el("br"), plainTable("How fresh each object is",
      [["Object", "nowrap"], ["Sync"], ["Age", "nowrap"], ["Last complete run (UTC)", "nowrap"], ["Last run", "nowrap"],
        ["Delivered by it", "number"], ["Not delivered", "number"]],
      data.syncs.map((sync, index) => [
        OBJECTS[sync.object] ?? value(sync.object),
        [el("a", { href: `#sync-${index}` }, value(sync.name)), tagsOf(sync)],
        el("strong", {}, age(sync.completed_at)), sync.completed_at ? time(sync.completed_at) : "–",
        sync.last ? pill(sync.last.status) : "–",
        sync.last ? amount(sync.last.delivered) : "–",
        amount(sync.reasons.reduce((sum, reason) => sum + reason.rows, 0)),
      ]))));
  }
  function tagsOf(sync) {
    const tags = [];
    if (!sync.enabled) tags.push("disabled");
    if (!sync.mapping && !data.note) tags.push("no longer mapped");
    return tags.map((tag) => [" ", el("span", { class: "pill plain" }, tag)]);
  }

  function drawRuns() {
    const at = bodyOfSection("runs");
    if (!runs.length) {
      at.append(el("p", { class: "muted" }, "Runs appear here, with plots of their rows, time and errors."));
      return;
    }
    const names = [...new Set(runs.flatMap((run) => run.syncs.map((sync) => sync.sync)))].sort();
    const rest = el("div");
    const select = el("select", { onchange: () => drawRunsOf(rest, names[Number(select.value)]) },
      el("option", { value: "" }, "all syncs"), names.map((name, place) => el("option", { value: String(place) }, clipped(name))));
    if (names.length > 1) at.append(el("div", { class: "controls" }, el("label", {}, "Show", select)));
    select.onchange = () => drawRunsOf(rest, select.value === "" ? null : names[Number(select.value)]);
    at.append(rest);
    drawRunsOf(rest, null);
  }
  function drawRunsOf(at, name) {
    const found = runs.map((run) => summed(run, run.syncs.filter((sync) => name === null || sync.sync === name)))
      .filter((one) => one.syncs.length);
    const days = new Set(found.map((one) => one.run.began_at.slice(0, 10)));
    const points = (names) => found.toReversed().map((one) => ({
      label: one.run.began_at, short: days.size > 1 ? one.run.began_at.slice(5, 16) : one.run.began_at.slice(11, 19),
      values: names.map((each) => one[each]), mark: false, note: "",
    }));
    const errors = points(["rejected", "invalid"]);
    found.toReversed().forEach((one, index) => {
      errors[index].mark = one.failed > 0;
      errors[index].note = one.failed ? `${count(one.failed, "sync")} failed` : "";
    });
    const series = (kinds) => kinds.map((kind) => ({ kind, title: kind }));
    at.replaceChildren(
      el("div", { class: "grid charts" },
        chart({ title: "Rows", about: "Rows delivered, missing and rejected in each run.", format: number, height: 190,
          series: series(["delivered", "missing", "rejected"]), points: points(["delivered", "missing", "rejected"]),
          empty: "No rows were sent in these runs." }),
        chart({ title: "Duration", about: "Seconds that the syncs of each run took.", format: seconds, whole: false,
          series: [{ kind: "duration", title: "seconds" }], points: points(["duration"]) }),
        chart({ title: "Errors", about: "Rows that were rejected or invalid in each run, and runs with a sync that failed.",
          format: number, series: series(["rejected", "invalid"]), points: errors, empty: "No errors in these runs." })),
      table({
        name: "run-list", caption: "Runs", page: 15, rows: found, sorted: { at: 0, down: true },
        empty: "No run.", detail: runDetail,
        columns: [
          { title: "Began (UTC)", by: (one) => one.run.id, cell: (one) => time(one.run.began_at) },
          { title: "Status", by: (one) => RANKS.indexOf(one.status), cell: (one) => pill(one.status) },
          ...["delivered", "missing", "rejected", "invalid", "held", "requests", "retries"].map((each) => ({
            title: each[0].toUpperCase() + each.slice(1), number: true, by: (one) => one[each], cell: (one) => amount(one[each]),
          })),
          { title: "Duration", number: true, by: (one) => one.duration, cell: (one) => seconds(one.duration) },
        ],
      }).root);
  }
  const runDetail = (one) => [
    el("p", { class: "muted" }, "Run ", value(one.run.id, true)),
    el("br"),
    plainTable("Syncs of the run", [["Sync"], ["Status", "nowrap"], ...RESULTS.map((each) => [each, "number"])],
      one.syncs.map((sync) => [value(sync.sync), pill(sync.status), ...RESULTS.map((each) => amount(sync[each]))])),
    facts(one.syncs.filter((sync) => sync.message).map((sync) =>
      [value(sync.sync), el("span", { class: "value" }, sync.message)])),
  ];

  function drawSyncs() {
    const at = bodyOfSection("syncs");
    if (!data.syncs.length) at.append(el("p", { class: "muted" }, "No sync is known."));
    data.syncs.forEach((sync, index) => {
      const open = data.syncs.length <= 3 || sync.reasons.some((reason) => reason.status === "rejected");
      at.append(el("details", { class: "card sync", id: `sync-${index}`, open },
        el("summary", {}, el("h3", {}, value(sync.name)), el("span", { class: "muted" }, OBJECTS[sync.object] ?? sync.object),
          sync.last ? pill(sync.last.status) : null, tagsOf(sync),
          el("span", { class: "muted age" }, sync.last ? `complete ${age(sync.completed_at)}` : "never run")),
        syncDetail(sync)));
    });
    // A link to a sync opens it.
    const openTarget = () => {
      const target = /^#sync-\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
      if (target) target.open = true;
    };
    window.addEventListener("hashchange", openTarget);
    openTarget();
  }
  function syncDetail(sync) {
    const parts = [];
    if (sync.last) {
      parts.push(el("h4", {}, `Last change set (run of ${moment(runById.get(sync.last.run_id)?.began_at ?? sync.last.logged_at)} UTC)`),
        el("dl", { class: "kinds" }, ["added", "changed", "removed", "unchanged", "invalid", "held"].map((kind) =>
          el("div", {}, el("dt", {}, kind), el("dd", {}, amount(sync.last[kind]))))));
    }
    const reasons = ORDER.flatMap((status) => sync.reasons.filter((reason) => reason.status === status));
    if (reasons.length) {
      parts.push(el("h4", {}, "Why rows are not delivered"), el("ul", { class: "reasons" }, reasons.slice(0, 20).map((reason) =>
        el("li", {}, pill(reason.status),
          el("span", {}, value(reason.message), el("span", { class: "muted" }, reason.examples.filter(Boolean).map((key, at) =>
            [at ? ", " : " e.g. ", value(key, true)]))),
          el("button", { type: "button", class: "link", onclick: () => showRows(sync.name, reason.status) }, count(reason.rows, "row"))))));
      if (reasons.length > 20) parts.push(el("p", { class: "muted" }, `and ${count(reasons.length - 20, "more reason")}`));
    }
    if (sync.last?.message) parts.push(el("h4", {}, "What the run said"), el("p", { class: "value" }, sync.last.message));
    if (sync.mapping) {
      const isRecord = sync.mapping.some((one) => one.group);
      parts.push(el("h4", {}, "Mapping"),
        el("dl", { class: "options" }, Object.entries(sync.options).map(([name, text]) =>
          el("div", {}, el("dt", {}, name), el("dd", {}, value(text, true))))),
        plainTable("Mapping", [["Pendo"], ["Column"], ["Type"], ["Nulls"], ...(isRecord ? [["Group"]] : [])],
          sync.mapping.map((one) => [
            one.id ? el("strong", {}, value(one.pendo, true)) : value(one.pendo, true),
            [value(one.from, true), one.constant ? el("span", { class: "muted" }, " (constant)") : null],
            one.type || el("span", { class: "muted" }, one.id ? "" : isRecord ? "as in Pendo" : "as in the table"),
            one.nulls, ...(isRecord ? [one.group] : []),
          ])));
    }
    return parts;
  }

  function drawRows() {
    const at = bodyOfSection("rows");
    if (data.rows.limit) {
      at.append(notice(`There are more than ${number(data.rows.limit)} such rows; ${number(data.rows.limit)} are listed here, rejected ones first. `
        + "The ledgers in the warehouse have all."));
    }
    const items = data.rows.items;
    const statuses = ORDER.filter((status) => items.some((row) => row[STATUS] === status));
    const listed = syncNames.filter((name) => data.syncs.some((sync) => sync.name === name && sync.reasons.length));
    rowsTable = table({
      name: "row-list", caption: "Rows not delivered", rows: items, page: 100, sorted: null, detail: rowDetail,
      empty: "Every row that was sent is in Pendo.",
      text: (row) => [row[0], row[KEY], row[STATUS], row[DETAIL] ?? "", row[RUN]].join("\n"),
      filters: [
        { label: "Status", options: statuses.map((status) => [status, (row) => row[STATUS] === status]) },
        { label: "Sync", options: listed.map((name) => [name, (row) => row[0] === name]) },
      ],
      columns: [
        { title: "Key", by: (row) => row[KEY], cell: keyOf },
        { title: "Status", by: (row) => row[STATUS], cell: (row) => pill(row[STATUS]) },
        { title: "Reason", by: (row) => row[DETAIL] ?? "", class: "wide", cell: (row) => value(row[DETAIL] ?? "–") },
        { title: "Sync", by: (row) => row[0], cell: (row) => value(row[0]) },
        { title: "Attempts", number: true, by: (row) => row[ATTEMPTS], cell: (row) => (row[ATTEMPTS] === null ? "–" : number(row[ATTEMPTS])) },
        { title: "Last tried (UTC)", by: (row) => row[AT], cell: (row) => time(row[AT]) },
        { title: "Call", cell: callLink },
      ],
    });
    rowsTable.show = (sync, status) => rowsTable.clear({ 0: statuses.indexOf(status), 1: listed.indexOf(sync) });
    at.append(rowsTable.root);
  }
  function callLink(row) {
    const call = callAt.get(`${row[RUN]} ${row[CALL]}`);
    return call ? el("button", { type: "button", class: "link", onclick: () => callsTable.reveal(call) }, `#${call.number}`) : "–";
  }
  const keyOf = (row) => (row[KEY] ? value(row[KEY], true) : el("span", { class: "muted" }, "empty"));
  function rowDetail(row) {
    const about = [["Key", row[KEY] ? el("span", { class: "value mono" }, row[KEY]) : keyOf(row)],
      ["Reason", el("span", { class: "value" }, row[DETAIL] ?? "–")], ["Run", value(row[RUN], true)]];
    // What a masked key is told by is no key.
    if (row[KEY] && !/^#[0-9a-f]{16}$/.test(row[KEY])) {
      about.push(["More", el("code", { class: "value" }, `dbt-pendo row ${quoted(row[0])} ${quoted(row[KEY])}`)]);
    }
    return facts(about);
  }
  const quoted = (text) => (/^[\w.@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  function showRows(sync, status) {
    rowsTable.show(sync, status);
    document.getElementById("rows").scrollIntoView();
    rowsTable.search.focus({ preventScroll: true });
  }

  function drawCalls() {
    const at = bodyOfSection("calls");
    const { kept, items, left_out: leftOut, without_bodies: withoutBodies, limit } = data.calls;
    if (!kept.length) {
      at.append(notice("No calls of these runs are kept on this machine. They lie in dbt's target folder of the machine "
        + "that made them, under dbt_pendo/runs; `dbt-pendo report` there has them."));
      return;
    }
    if (runs.length > kept.length) {
      at.append(el("p", { class: "muted" }, `This machine has kept the calls of ${number(kept.length)} of the ${count(runs.length, "run")}.`), el("br"));
    }
    if (leftOut) at.append(notice(`${number(leftOut)} more calls are left out: a report has at most ${number(limit)}.`));
    if (withoutBodies) at.append(notice(`${count(withoutBodies, "call")} are listed without bodies, to keep this file small; \`dbt-pendo show RUN --failed\` has them.`));
    const syncs = [...new Set(items.map((call) => call.sync))].sort();
    callsTable = table({
      name: "call-list", caption: "API calls", rows: items, detail: callDetail, sorted: null,
      empty: "No call was made.",
      text: (call) => [call.method, call.path, call.sync, call.status ?? "", call.fault, call.run].join("\n"),
      filters: [
        { label: "Outcome", options: [["failed only", (call) => call.failed], ["worked", (call) => !call.failed],
          ["sent again", (call) => call.attempt > 1]] },
        { label: "Sync", options: syncs.map((name) => [name || "none", (call) => call.sync === name]) },
        { label: "Run", options: kept.map((id) => [startOf(runById.get(id)) || id, (call) => call.run === id]) },
      ],
      columns: [
        { title: "#", by: (call) => call.number, number: false, cell: (call) => `${call.number}` },
        { title: "Sent (UTC)", by: (call) => call.at, cell: (call) => time(call.at) },
        { title: "Sync", by: (call) => call.sync, cell: (call) => value(call.sync || "–") },
        { title: "Request", by: (call) => `${call.path} ${call.method}`, class: "wide", cell: (call) => value(`${call.method} ${call.path}`, true) },
        { title: "Answer", by: (call) => call.status ?? 0, cell: (call) => el("span", { class: `pill ${call.failed ? "bad" : "good"}` },
          el("span", { "aria-hidden": "true" }, call.failed ? "✕" : "✓"), call.status === null ? "no answer" : String(call.status),
          el("span", { class: "hidden-text" }, call.failed ? "failed" : "worked")) },
        { title: "ms", number: true, by: (call) => call.seconds, cell: (call) => number(Math.round(call.seconds * 1000)) },
        { title: "Try", number: true, by: (call) => call.attempt, cell: (call) => number(call.attempt) },
        { title: "Rows", number: true, by: (call) => call.rows, cell: (call) => number(call.rows) },
        { title: "Bytes", number: true, by: (call) => call.bytes, cell: (call) => number(call.bytes) },
      ],
    });
    at.append(callsTable.root);
  }
  function callDetail(call) {
    const body = (title, text) => el("div", {}, el("h4", {}, title), text === null || text === ""
      ? el("p", { class: "muted" }, text === null && (title === "Answer" || call.bytes) ? "not kept" : "empty")
      : el("pre", { tabindex: "0", "aria-label": title }, pretty(text)));
    const [request, answer] = call.body === null ? [null, null] : bodyOf(call.body);
    const about = [["Run", value(call.run, true)]];
    if (call.fault) about.push(["No answer", el("span", { class: "value" }, call.fault)]);
    if (call.waited) about.push(["Waited", `${seconds(call.waited)} for its turn`]);
    return [facts(about), call.body === null
      ? el("p", { class: "muted" }, "Its bodies were not kept: of calls that worked a run keeps a sample.")
      : el("div", { class: "bodies" }, body("Request", request), body("Answer", answer))];
  }

  drawHead();
  drawOverview();
  drawRuns();
  drawSyncs();
  drawRows();
  drawCalls();
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    rowsTable.search.focus();
    document.getElementById("rows").scrollIntoView();
  });
})();
