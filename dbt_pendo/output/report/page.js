// Makes tabs of the page's sections, and draws what its HTML does not have: plots, and the lists of rows and calls.

const runs = data.runs;
const beganAt = new Map(runs.map((run) => [run.run_id, run.began_at]));
const [SYNC, KEY, STATUS, DETAIL, ATTEMPTS, RUN, AT, CALL] = [0, 1, 2, 3, 4, 5, 6, 7];
const byId = (id) => document.getElementById(id);
const toSync = (name) => el("a", { href: `#sync-${encodeURIComponent(name)}` }, value(name));
const toCall = (run, call) => `#calls?${new URLSearchParams({ run, call })}`;

// How the list of each section is made, when it is first looked at.
const MAKERS = {
  runs: () => {
    if (!runs.length) return null;
    const plot = el("div", { class: "card" });
    const root = byId("run-list");
    const nodes = [...root.querySelectorAll("tbody")];
    nodes.forEach((node) => foldable(node));
    const list = enhanced({
      root,
      name: "runs",
      nodes,
      items: runs,
      filters: [
        { name: "status", label: "Status", of: (run) => run.status },
        { name: "sync", label: "Sync", of: (run) => run.syncs.map((sync) => sync.sync) },
      ],
      found: (shown, { sync }) => chart(plot, shown, sync),
    });
    root.querySelector(".controls").after(plot);
    return list;
  },
  syncs: () =>
    enhanced({
      root: byId("sync-list"),
      name: "syncs",
      nodes: [...document.querySelectorAll(".sync")],
      items: data.syncs,
      filters: [{ name: "status", label: "Last run", of: (sync) => sync.last?.status ?? [] }],
      text: (sync) => `${sync.name} ${sync.object}`,
    }),
  rows: () => {
    const items = data.rows.items;
    const callAt = new Set(data.calls.items.map((call) => `${call.run} ${call.number}`));
    return table({
      root: byId("row-list"),
      name: "rows",
      caption: "Rows not delivered",
      items,
      detail: rowDetail,
      empty: "No row was refused, unknown or invalid when it was last tried.",
      text: (row) => [row[SYNC], row[KEY], row[STATUS], row[DETAIL] ?? "", row[RUN]].join("\n"),
      filters: [
        { name: "status", label: "Status", of: (row) => row[STATUS] },
        { name: "sync", label: "Sync", of: (row) => row[SYNC] },
      ],
      columns: [
        { title: "Key", by: (row) => row[KEY], class: "key", cell: keyOf },
        { title: "Status", plain: true, by: (row) => row[STATUS], cell: (row) => pill(row[STATUS]) },
        {
          title: "Reason",
          plain: true,
          by: (row) => row[DETAIL] ?? "",
          class: "wide",
          cell: (row) => value(row[DETAIL] ?? "–"),
        },
        { title: "Sync", plain: true, by: (row) => row[SYNC], cell: (row) => toSync(row[SYNC]) },
        {
          title: "Attempts",
          number: true,
          by: (row) => row[ATTEMPTS],
          cell: (row) => (row[ATTEMPTS] === null ? "–" : number(row[ATTEMPTS])),
        },
        { title: "Last tried (UTC)", plain: true, by: (row) => row[AT], cell: (row) => time(row[AT]) },
        {
          title: "Call",
          cell: (row) =>
            callAt.has(`${row[RUN]} ${row[CALL]}`)
              ? el("a", { href: toCall(row[RUN], row[CALL]) }, `#${row[CALL]}`)
              : "–",
        },
      ],
    });
  },
  calls: () => {
    const { kept, items } = data.calls;
    if (!kept.length) return null;
    return table({
      root: byId("call-list"),
      name: "calls",
      caption: "API calls",
      // What went wrong comes first.
      items: items.toSorted((one, other) => other.failed - one.failed),
      detail: callDetail,
      empty: "No call was made.",
      text: (call) => [call.method, call.path, call.sync, call.status ?? "", call.said, call.run].join("\n"),
      filters: [
        {
          name: "outcome",
          label: "Outcome",
          of: (call) => [call.failed ? "failed" : "worked", ...(call.attempt > 1 ? ["again"] : [])],
          options: [
            ["failed", "failed only"],
            ["worked", "worked"],
            ["again", "sent again"],
          ],
        },
        { name: "sync", label: "Sync", of: (call) => call.sync },
        { name: "run", label: "Run", of: (call) => call.run, options: kept.map((id) => [id, beganAt.get(id) ?? id]) },
      ],
      columns: [
        {
          title: "Answer",
          by: (call) => call.status ?? 0,
          class: "key",
          cell: (call) =>
            el(
              "span",
              { class: `pill ${call.failed ? "bad" : "good"}` },
              el("span", { "aria-hidden": "true" }, call.failed ? "✕" : "✓"),
              call.status === null ? "no answer" : String(call.status),
              el("span", { class: "hidden-text" }, call.failed ? "failed" : "worked"),
            ),
        },
        { title: "Sync", plain: true, by: (call) => call.sync, cell: (call) => (call.sync ? toSync(call.sync) : "–") },
        {
          title: "Request, and what went wrong",
          plain: true,
          by: (call) => `${call.path} ${call.method}`,
          class: "wide",
          cell: (call) => [
            value(`${call.method} ${call.path}`, true),
            call.said ? el("div", { class: "said" }, value(call.said)) : null,
          ],
        },
        { title: "Sent (UTC)", plain: true, by: (call) => call.at, cell: (call) => time(call.at) },
        { title: "#", by: (call) => call.number, number: true, cell: (call) => number(call.number) },
        { title: "Rows", number: true, by: (call) => call.rows, cell: (call) => number(call.rows) },
        { title: "ms", number: true, by: (call) => call.seconds, cell: milliseconds },
      ],
    });
  },
};

const keyOf = (row) => (row[KEY] ? value(row[KEY], true) : el("span", { class: "muted" }, "empty"));
const quoted = (text) => (/^[\w.@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const toRun = (id) =>
  beganAt.has(id) ? el("a", { href: `#run-${encodeURIComponent(id)}` }, value(id, true)) : value(id, true);
function rowDetail(row) {
  const about = [
    ["Key", row[KEY] ? el("span", { class: "value mono" }, row[KEY]) : keyOf(row)],
    ["Reason", el("span", { class: "value" }, row[DETAIL] ?? "–")],
    ["Run", toRun(row[RUN])],
  ];
  // What a masked key is told by is no key.
  if (row[KEY] && !/^#[0-9a-f]{16}$/.test(row[KEY])) {
    about.push(["More", el("code", { class: "value" }, `dbt-pendo row ${quoted(row[SYNC])} ${quoted(row[KEY])}`)]);
  }
  return facts(about);
}
const milliseconds = (call) => number(Math.round(call.seconds * 1000));
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
  const bodies = [body("Request", request), body("Answer", answer)];
  const about = [
    ["Run", toRun(call.run)],
    ["Sent", `${count(call.bytes, "byte")}, attempt ${number(call.attempt)}`],
  ];
  if (call.fault) about.push(["No answer", el("span", { class: "value" }, visible(call.fault))]);
  if (call.waited) about.push(["Waited", `${seconds(call.waited)} for its turn`]);
  return [
    facts(about),
    call.body === null
      ? el("p", { class: "muted" }, "Its bodies were not kept: of calls that worked a run keeps a sample.")
      : el("div", { class: "bodies" }, call.failed ? bodies.reverse() : bodies),
  ];
}

// Tabs: the address names a section or something in it, and after a `?` what is looked for there.

const sections = [...document.querySelectorAll("main > section")];
const lists = {};
const listOf = (section) => (lists[section] ??= MAKERS[section]?.() ?? {});
let current = null;
function route() {
  const [id, query = ""] = location.hash.slice(1).split("?");
  // The link to the report's start is no other tab.
  if (current && id === "main") return;
  const target = byId(id);
  const section = target?.closest("main > section") ?? sections[0];
  for (const each of sections) each.hidden = each !== section;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${section.id}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (section !== current) scrollTo(0, 0);
  current = section;
  const words = new URLSearchParams(query);
  const call = words.get("call");
  listOf(section.id).show?.(words, (item, node) => (call ? String(item.number) === call : node === target));
}

document.documentElement.classList.add("tabs");
if (runs.length) chart(document.querySelector(".plot-of-all"), runs, null);
const days = Math.floor((Date.now() - Date.parse(data.made_at)) / 86400000);
if (days > 1) byId("old").textContent = ` (${days} days ago)`;
window.addEventListener("hashchange", route);
route();
// On paper all sections follow each other.
window.addEventListener("beforeprint", () => {
  for (const name of Object.keys(MAKERS)) if (!lists[name]) listOf(name).show?.(new URLSearchParams());
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  if (!listOf(current.id).search) {
    history.pushState(null, "", "#rows");
    route();
  }
  listOf(current.id).search.focus({ preventScroll: true });
});
