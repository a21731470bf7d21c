// The page, from top to bottom.

const runs = data.runs;
const runById = new Map(runs.map((run) => [run.id, run]));
const callAt = new Map(data.calls.items.map((call) => [`${call.run} ${call.number}`, call]));
const SUMS = ["delivered", "missing", "rejected", "invalid", "held", "requests", "retries", "duration"];
const RESULTS = ["added", "changed", "removed", "delivered", "missing", "rejected", "invalid"];
const summed = (run, syncs) => ({
  run,
  syncs,
  status: worst(syncs.map((sync) => sync.status)),
  failed: syncs.filter((sync) => FAILED.has(sync.status)).length,
  ...Object.fromEntries(SUMS.map((name) => [name, syncs.reduce((sum, sync) => sum + sync[name], 0)])),
});
const [KEY, STATUS, DETAIL, ATTEMPTS, RUN, AT, CALL] = [1, 2, 3, 4, 5, 6, 7];
let rowsTable = null;
let showRows = null;
let callsTable = null;

function drawHead() {
  document.getElementById("project").textContent = visible(data.project);
  document.title = `${visible(data.project)}: dbt-pendo report`;
  const old = Date.now() - madeAt > 36 * 3600 * 1000;
  document
    .getElementById("made")
    .append(
      `Made ${moment(data.made_at)} UTC${old ? ` (${since(data.made_at, Date.now())} ago)` : ""}, of ` +
        `${count(runs.length, "run")}; ages are those of that moment.`,
    );
  document.getElementById("made-by").textContent =
    `dbt-pendo ${data.version}. All times are in UTC. This file fetches nothing and sends nothing.`;
}

const notice = (text) => el("p", { class: "notice" }, text);
const tile = (title, big, ...below) =>
  el(
    "div",
    { class: "card tile" },
    el(
      "dl",
      {},
      el("dt", {}, title),
      el("dd", { class: "big" }, big),
      below.map((each) => el("dd", { class: "muted" }, each)),
    ),
  );

function drawOverview() {
  const at = bodyOfSection("overview");
  if (data.note) at.append(notice(visible(data.note)));
  if (!runs.length) at.append(notice("No run is logged yet. `dbt-pendo sync` makes the first."));
  const rows = data.rows.items;
  if (runs.length) {
    const latest = runs[0];
    const began = `${latest.began_at.replace(" ", "T")}Z`;
    const isKept = data.calls.kept.includes(latest.id);
    const kinds = ORDER.map((status) => [status, rows.filter((row) => row[STATUS] === status).length]).filter(
      ([, found]) => found,
    );
    const calls = data.calls.items.filter((call) => call.run === latest.id);
    const failing = data.syncs.filter((sync) => sync.last && FAILED.has(sync.last.status)).length;
    const { delivered } = summed(latest, latest.syncs);
    at.append(
      el(
        "div",
        { class: "grid tiles" },
        tile("Latest run", pill(latest.status), `${age(began)}, ${count(delivered, "row")} delivered`),
        tile(
          "Syncs",
          number(data.syncs.length),
          failing ? `${number(failing)} failed when last run` : "none failed when last run",
        ),
        tile(
          "Rows not delivered",
          `${number(rows.length)}${data.rows.limit ? "+" : ""}`,
          kinds.map(([status, found]) => `${number(found)} ${status}`).join(", ") || "when last tried",
        ),
        tile(
          "Calls of the latest run",
          isKept ? number(calls.length) : "–",
          isKept ? `${number(calls.filter((call) => call.failed).length)} failed` : "not kept on this machine",
        ),
      ),
    );
  }
  if (!data.syncs.length) return;
  at.append(
    el(
      "div",
      { class: "card" },
      el("h3", {}, "How fresh each object is"),
      el(
        "p",
        { class: "muted" },
        "A sync is as fresh as its last run that came to its end, whatever became of single rows.",
      ),
      el("br"),
      plainTable(
        "How fresh each object is",
        [
          ["Object", "nowrap"],
          ["Sync"],
          ["Age", "nowrap"],
          ["Last complete run (UTC)", "nowrap"],
          ["Last run", "nowrap"],
          ["Delivered by it", "number"],
          ["Not delivered", "number"],
        ],
        data.syncs.map((sync, index) => [
          OBJECTS[sync.object] ?? value(sync.object),
          [el("a", { href: `#sync-${index}` }, value(sync.name)), tagsOf(sync)],
          el("strong", {}, sync.completed_at ? since(sync.completed_at, madeAt) : "never"),
          sync.completed_at ? time(sync.completed_at) : "–",
          sync.last ? pill(sync.last.status) : "–",
          sync.last ? amount(sync.last.delivered) : "–",
          amount(sync.reasons.reduce((sum, reason) => sum + reason.rows, 0)),
        ]),
      ),
    ),
  );
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
  const select = el(
    "select",
    {
      onchange: () => drawRunsOf(rest, select.value === "" ? null : names[Number(select.value)]),
    },
    el("option", { value: "" }, "all syncs"),
    names.map((name, place) => el("option", { value: String(place) }, clipped(name))),
  );
  if (names.length > 1) at.append(el("div", { class: "controls" }, el("label", {}, "Show", select)));
  at.append(rest);
  drawRunsOf(rest, null);
}
function drawRunsOf(at, name) {
  const found = runs
    .map((run) =>
      summed(
        run,
        run.syncs.filter((sync) => name === null || sync.sync === name),
      ),
    )
    .filter((one) => one.syncs.length);
  const days = new Set(found.map((one) => one.run.began_at.slice(0, 10)));
  const points = (names) =>
    found.toReversed().map((one) => ({
      label: one.run.began_at,
      short: days.size > 1 ? one.run.began_at.slice(5, 16) : one.run.began_at.slice(11, 19),
      values: names.map((each) => one[each]),
      mark: false,
      note: "",
    }));
  const errors = points(["rejected", "invalid"]);
  found.toReversed().forEach((one, index) => {
    errors[index].mark = one.failed > 0;
    errors[index].note = one.failed ? `${count(one.failed, "sync")} failed` : "";
  });
  const series = (kinds) => kinds.map((kind) => ({ kind, title: kind }));
  at.replaceChildren(
    el(
      "div",
      { class: "grid charts" },
      chart({
        title: "Rows",
        about: "Rows delivered, missing and rejected in each run.",
        format: number,
        height: 190,
        series: series(["delivered", "missing", "rejected"]),
        points: points(["delivered", "missing", "rejected"]),
        empty: "No rows were sent in these runs.",
      }),
      chart({
        title: "Duration",
        about: "Seconds that the syncs of each run took.",
        format: seconds,
        whole: false,
        series: [{ kind: "duration", title: "seconds" }],
        points: points(["duration"]),
      }),
      chart({
        title: "Errors",
        about: "Rows that were rejected or invalid in each run, and runs with a sync that failed.",
        format: number,
        series: series(["rejected", "invalid"]),
        points: errors,
        empty: "No errors in these runs.",
      }),
    ),
    table({
      name: "run-list",
      caption: "Runs",
      page: 15,
      rows: found,
      sorted: { at: 0, down: true },
      empty: "No run.",
      detail: runDetail,
      columns: [
        { title: "Began (UTC)", by: (one) => one.run.id, cell: (one) => time(one.run.began_at) },
        { title: "Status", by: (one) => RANKS.indexOf(one.status), cell: (one) => pill(one.status) },
        ...["delivered", "missing", "rejected", "invalid", "held", "requests", "retries"].map((each) => ({
          title: each[0].toUpperCase() + each.slice(1),
          number: true,
          by: (one) => one[each],
          cell: (one) => amount(one[each]),
        })),
        { title: "Duration", number: true, by: (one) => one.duration, cell: (one) => seconds(one.duration) },
      ],
    }).root,
  );
}
const runDetail = (one) => [
  el("p", { class: "muted" }, "Run ", value(one.run.id, true)),
  el("br"),
  plainTable(
    "Syncs of the run",
    [["Sync"], ["Status", "nowrap"], ...RESULTS.map((each) => [each, "number"])],
    one.syncs.map((sync) => [value(sync.sync), pill(sync.status), ...RESULTS.map((each) => amount(sync[each]))]),
  ),
  facts(
    one.syncs
      .filter((sync) => sync.message)
      .map((sync) => [value(sync.sync), el("span", { class: "value" }, visible(sync.message))]),
  ),
];

function drawSyncs() {
  const at = bodyOfSection("syncs");
  if (!data.syncs.length) at.append(el("p", { class: "muted" }, "No sync is known."));
  data.syncs.forEach((sync, index) => {
    const open = data.syncs.length <= 3 || sync.reasons.some((reason) => reason.status === "rejected");
    at.append(
      el(
        "details",
        { class: "card sync", id: `sync-${index}`, open },
        el(
          "summary",
          {},
          el("h3", {}, value(sync.name)),
          el("span", { class: "muted" }, OBJECTS[sync.object] ?? sync.object),
          sync.last ? pill(sync.last.status) : null,
          tagsOf(sync),
          el("span", { class: "muted age" }, sync.last ? `complete ${age(sync.completed_at)}` : "never run"),
        ),
        syncDetail(sync),
      ),
    );
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
    parts.push(
      el(
        "h4",
        {},
        `Last change set (run of ${moment(runById.get(sync.last.run_id)?.began_at ?? sync.last.logged_at)} UTC)`,
      ),
      el(
        "dl",
        { class: "kinds" },
        ["added", "changed", "removed", "unchanged", "invalid", "held"].map((kind) =>
          el("div", {}, el("dt", {}, kind), el("dd", {}, amount(sync.last[kind]))),
        ),
      ),
    );
  }
  const reasons = ORDER.flatMap((status) => sync.reasons.filter((reason) => reason.status === status));
  if (reasons.length) {
    parts.push(
      el("h4", {}, "Why rows are not delivered"),
      el(
        "ul",
        { class: "reasons" },
        reasons.slice(0, 20).map((reason) =>
          el(
            "li",
            {},
            pill(reason.status),
            el(
              "span",
              {},
              value(reason.message),
              el(
                "span",
                { class: "muted" },
                reason.examples.filter(Boolean).map((key, at) => [at ? ", " : " e.g. ", value(key, true)]),
              ),
            ),
            el(
              "button",
              { type: "button", class: "link", onclick: () => showRows(sync.name, reason.status) },
              count(reason.rows, "row"),
            ),
          ),
        ),
      ),
    );
    if (reasons.length > 20)
      parts.push(el("p", { class: "muted" }, `and ${count(reasons.length - 20, "more reason")}`));
  }
  if (sync.last?.message) parts.push(el("h4", {}, "What the run said"), el("p", { class: "value" }, visible(sync.last.message)));
  if (sync.mapping) {
    const isRecord = sync.mapping.some((one) => one.group);
    parts.push(
      el("h4", {}, "Mapping"),
      el(
        "dl",
        { class: "options" },
        Object.entries(sync.options).map(([name, text]) =>
          el("div", {}, el("dt", {}, name), el("dd", {}, value(text, true))),
        ),
      ),
      plainTable(
        "Mapping",
        [["Pendo"], ["Column"], ["Type"], ["Nulls"], ...(isRecord ? [["Group"]] : [])],
        sync.mapping.map((one) => [
          one.id ? el("strong", {}, value(one.pendo, true)) : value(one.pendo, true),
          [value(one.from, true), one.constant ? el("span", { class: "muted" }, " (constant)") : null],
          one.type || el("span", { class: "muted" }, one.id ? "" : isRecord ? "as in Pendo" : "as in the table"),
          one.nulls,
          ...(isRecord ? [one.group] : []),
        ]),
      ),
    );
  }
  return parts;
}

function drawRows() {
  const at = bodyOfSection("rows");
  if (data.rows.limit) {
    at.append(
      notice(
        `There are more than ${number(data.rows.limit)} such rows; ${number(data.rows.limit)} are listed here, rejected ones first. ` +
          "The ledgers in the warehouse have all.",
      ),
    );
  }
  const items = data.rows.items;
  const statuses = ORDER.filter((status) => items.some((row) => row[STATUS] === status));
  const listed = data.syncs.filter((sync) => sync.reasons.length).map((sync) => sync.name);
  rowsTable = table({
    name: "row-list",
    caption: "Rows not delivered",
    rows: items,
    page: 100,
    sorted: null,
    detail: rowDetail,
    empty: "No row was refused, unknown or invalid when it was last tried.",
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
      {
        title: "Attempts",
        number: true,
        by: (row) => row[ATTEMPTS],
        cell: (row) => (row[ATTEMPTS] === null ? "–" : number(row[ATTEMPTS])),
      },
      { title: "Last tried (UTC)", by: (row) => row[AT], cell: (row) => time(row[AT]) },
      { title: "Call", cell: callLink },
    ],
  });
  showRows = (sync, status) => {
    rowsTable.clear([statuses.indexOf(status), listed.indexOf(sync)]);
    document.getElementById("rows").scrollIntoView();
    rowsTable.search.focus({ preventScroll: true });
  };
  at.append(rowsTable.root);
}
function callLink(row) {
  const call = callAt.get(`${row[RUN]} ${row[CALL]}`);
  return call
    ? el("button", { type: "button", class: "link", onclick: () => callsTable.reveal(call) }, `#${call.number}`)
    : "–";
}
const keyOf = (row) => (row[KEY] ? value(row[KEY], true) : el("span", { class: "muted" }, "empty"));
function rowDetail(row) {
  const about = [
    ["Key", row[KEY] ? el("span", { class: "value mono" }, row[KEY]) : keyOf(row)],
    ["Reason", el("span", { class: "value" }, row[DETAIL] ?? "–")],
    ["Run", value(row[RUN], true)],
  ];
  // What a masked key is told by is no key.
  if (row[KEY] && !/^#[0-9a-f]{16}$/.test(row[KEY])) {
    about.push(["More", el("code", { class: "value" }, `dbt-pendo row ${quoted(row[0])} ${quoted(row[KEY])}`)]);
  }
  return facts(about);
}
const quoted = (text) => (/^[\w.@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function drawCalls() {
  const at = bodyOfSection("calls");
  const { kept, items, left_out: leftOut, without_bodies: withoutBodies, limit } = data.calls;
  if (!kept.length) {
    at.append(
      notice(
        "No calls of these runs are kept on this machine. They lie in dbt's target folder of the machine " +
          "that made them, under dbt_pendo/runs; `dbt-pendo report` there has them.",
      ),
    );
    return;
  }
  if (runs.length > kept.length) {
    at.append(
      el(
        "p",
        { class: "muted" },
        `This machine has kept the calls of ${number(kept.length)} of the ${count(runs.length, "run")}.`,
      ),
      el("br"),
    );
  }
  if (leftOut) at.append(notice(`${number(leftOut)} more calls are left out: a report has at most ${number(limit)}.`));
  if (withoutBodies)
    at.append(
      notice(
        `${count(withoutBodies, "call")} are listed without bodies, to keep this file small; \`dbt-pendo show RUN --failed\` has them.`,
      ),
    );
  const syncs = [...new Set(items.map((call) => call.sync))].sort();
  callsTable = table({
    name: "call-list",
    caption: "API calls",
    rows: items,
    detail: callDetail,
    sorted: null,
    empty: "No call was made.",
    text: (call) => [call.method, call.path, call.sync, call.status ?? "", call.fault, call.run].join("\n"),
    filters: [
      {
        label: "Outcome",
        options: [
          ["failed only", (call) => call.failed],
          ["worked", (call) => !call.failed],
          ["sent again", (call) => call.attempt > 1],
        ],
      },
      { label: "Sync", options: syncs.map((name) => [name || "none", (call) => call.sync === name]) },
      { label: "Run", options: kept.map((id) => [runById.get(id)?.began_at ?? id, (call) => call.run === id]) },
    ],
    columns: [
      { title: "#", by: (call) => call.number, cell: (call) => `${call.number}` },
      { title: "Sent (UTC)", by: (call) => call.at, cell: (call) => time(call.at) },
      { title: "Sync", by: (call) => call.sync, cell: (call) => value(call.sync || "–") },
      {
        title: "Request",
        by: (call) => `${call.path} ${call.method}`,
        class: "wide",
        cell: (call) => value(`${call.method} ${call.path}`, true),
      },
      {
        title: "Answer",
        by: (call) => call.status ?? 0,
        cell: (call) =>
          el(
            "span",
            { class: `pill ${call.failed ? "bad" : "good"}` },
            el("span", { "aria-hidden": "true" }, call.failed ? "✕" : "✓"),
            call.status === null ? "no answer" : String(call.status),
            el("span", { class: "hidden-text" }, call.failed ? "failed" : "worked"),
          ),
      },
      {
        title: "ms",
        number: true,
        by: (call) => call.seconds,
        cell: (call) => number(Math.round(call.seconds * 1000)),
      },
      { title: "Try", number: true, by: (call) => call.attempt, cell: (call) => number(call.attempt) },
      { title: "Rows", number: true, by: (call) => call.rows, cell: (call) => number(call.rows) },
      { title: "Bytes", number: true, by: (call) => call.bytes, cell: (call) => number(call.bytes) },
    ],
  });
  at.append(callsTable.root);
}
function callDetail(call) {
  const body = (title, text) =>
    el(
      "div",
      {},
      el("h4", {}, title),
      text === null || text === ""
        ? el("p", { class: "muted" }, text === null && (title === "Answer" || call.bytes) ? "not kept" : "empty")
        : el("pre", { tabindex: "0", "aria-label": title }, visible(pretty(text))),
    );
  const [request, answer] = call.body === null ? [null, null] : bodyOf(call.body);
  const about = [["Run", value(call.run, true)]];
  if (call.fault) about.push(["No answer", el("span", { class: "value" }, visible(call.fault))]);
  if (call.waited) about.push(["Waited", `${seconds(call.waited)} for its turn`]);
  return [
    facts(about),
    call.body === null
      ? el("p", { class: "muted" }, "Its bodies were not kept: of calls that worked a run keeps a sample.")
      : el("div", { class: "bodies" }, body("Request", request), body("Answer", answer)),
  ];
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
