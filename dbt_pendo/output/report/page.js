// Draws what the page's HTML does not have: plots, and the lists of rows and calls; and makes links of it work.

const runs = data.runs;
const callAt = new Map(data.calls.items.map((call) => [`${call.run} ${call.number}`, call]));
const [KEY, STATUS, DETAIL, ATTEMPTS, RUN, AT, CALL] = [1, 2, 3, 4, 5, 6, 7];
let rowsTable = null;
let callsTable = null;

function drawPlots() {
  const at = document.getElementById("plots");
  const names = [...new Set(runs.flatMap((run) => run.syncs.map((sync) => sync.sync)))].sort();
  const plots = el("div", { class: "grid charts" });
  const select = el(
    "select",
    { onchange: () => drawPlotsOf(plots, names[select.value]) },
    el("option", { value: "" }, "all syncs"),
    names.map((name, place) => el("option", { value: String(place) }, clipped(name))),
  );
  if (names.length > 1) at.append(el("div", { class: "controls" }, el("label", {}, "Show", select)));
  at.append(plots);
  drawPlotsOf(plots);
}
function drawPlotsOf(at, name) {
  const found = runs
    .map((run) => ({ run, syncs: run.syncs.filter((sync) => name === undefined || sync.sync === name) }))
    .filter((one) => one.syncs.length)
    .reverse();
  const days = new Set(found.map(({ run }) => run.began_at.slice(0, 10)));
  const plot = ({ kinds, titles = kinds, marksFailures = false, ...rest }) =>
    chart({
      ...rest,
      series: kinds.map((kind, place) => ({ kind, title: titles[place] })),
      points: found.map(({ run, syncs }) => {
        const failed = marksFailures ? syncs.filter((sync) => FAILED.has(sync.status)).length : 0;
        return {
          label: run.began_at,
          short: days.size > 1 ? run.began_at.slice(5, 16) : run.began_at.slice(11, 19),
          values: kinds.map((kind) => syncs.reduce((sum, sync) => sum + sync[kind], 0)),
          mark: failed > 0,
          note: failed ? `${count(failed, "sync")} failed` : "",
        };
      }),
    });
  at.replaceChildren(
    plot({
      title: "Rows",
      about: "Rows delivered, missing and rejected in each run.",
      format: number,
      height: 190,
      kinds: ["delivered", "missing", "rejected"],
      empty: "No rows were sent in these runs.",
    }),
    plot({
      title: "Duration",
      about: "Seconds that the syncs of each run took.",
      format: seconds,
      whole: false,
      kinds: ["duration"],
      titles: ["seconds"],
    }),
    plot({
      title: "Errors",
      about: "Rows that were rejected or invalid in each run, and runs with a sync that failed.",
      format: number,
      kinds: ["rejected", "invalid"],
      marksFailures: true,
      empty: "No errors in these runs.",
    }),
  );
}

function drawRows() {
  const items = data.rows.items;
  const statuses = Object.keys(STATUSES).filter((status) => items.some((row) => row[STATUS] === status));
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
  document.querySelector("#rows .body").append(rowsTable.root);
  // The number of rows beside a reason leads to them.
  for (const button of document.querySelectorAll(".reasons button")) {
    button.addEventListener("click", () => {
      const { sync, status } = button.dataset;
      rowsTable.clear([statuses.indexOf(status), listed.indexOf(data.syncs[sync].name)]);
      goToRows();
    });
  }
}
function goToRows() {
  document.getElementById("rows").scrollIntoView();
  rowsTable.search.focus({ preventScroll: true });
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
  const { kept, items } = data.calls;
  if (!kept.length) return;
  const beganAt = new Map(runs.map((run) => [run.run_id, run.began_at]));
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
      { label: "Run", options: kept.map((id) => [beganAt.get(id) ?? id, (call) => call.run === id]) },
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
  document.querySelector("#calls .body").append(callsTable.root);
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

if (runs.length) drawPlots();
drawRows();
drawCalls();
const days = Math.floor((Date.now() - Date.parse(data.made_at)) / 86400000);
if (days > 1) document.getElementById("old").textContent = ` (${days} days ago)`;
// A link to a sync opens it.
const openTarget = () => {
  const target = /^#sync-\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
  if (target) target.open = true;
};
window.addEventListener("hashchange", openTarget);
openTarget();
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  goToRows();
});
