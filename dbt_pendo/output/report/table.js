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
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    el("table", {}, el("caption", { class: "hidden-text" }, caption), el("thead", {}, head), body),
  );
  const steps = [
    ["First", () => 0],
    ["Previous", () => state.page - 1],
    ["Next", () => state.page + 1],
    ["Last", () => last()],
  ].map(([label, to]) => el("button", { type: "button", class: "plain", onclick: () => turn(to()) }, label));
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
      type: "search",
      spellcheck: "false",
      autocomplete: "off",
      oninput: () => {
        clearTimeout(waiting);
        waiting = setTimeout(now, 150);
      },
      onkeydown: (event) => {
        if (event.key === "Enter") now();
        if (event.key === "Escape" && search.value) {
          search.value = "";
          now();
          event.preventDefault();
        }
      },
    });
    controls.append(el("label", { class: "search" }, "Search", search));
  }
  const selects = filters.map(({ label, options }) => {
    const select = el("select", { onchange: () => find() }, el("option", { value: "" }, "all"));
    // An option stands for its place: its value is of our own making.
    options.forEach(([title], at) => select.append(el("option", { value: String(at) }, clipped(title))));
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
    head.append(
      el(
        "th",
        { scope: "col", class: column.number ? "number" : "" },
        column.by ? el("button", { type: "button", onclick: sort }, column.title, mark) : column.title,
      ),
    );
  });

  function haystack(row) {
    if (!known.has(row)) known.set(row, text(row).toLowerCase());
    return known.get(row);
  }
  function find() {
    const tests = selects.flatMap((select, at) =>
      select.value === "" ? [] : [filters[at].options[Number(select.value)][1]],
    );
    shown = rows.filter(
      (row) => tests.every((test) => test(row)) && state.words.every((word) => haystack(row).includes(word)),
    );
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
    const pressed = document.activeElement;
    state.page = Math.min(Math.max(0, to), last());
    draw();
    // At an end the button that led there is disabled; the focus must not get lost with it.
    if (pressed.disabled) region.focus({ preventScroll: true });
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
      body.append(
        el(
          "tr",
          {},
          el("td", { colspan: String(columns.length), class: "empty" }, rows.length ? "Nothing matches." : empty),
        ),
      );
    }
    const all = number(rows.length);
    const of =
      shown.length === rows.length
        ? all
        : `${number(shown.length)} ${shown.length === 1 ? "match" : "matches"}, ${all} in all`;
    found.textContent = shown.length
      ? `${number(from + 1)} to ${number(from + part.length)} of ${of}`
      : `0 matches, ${all} in all`;
    found.hidden = !rows.length;
    pages.hidden = last() === 0;
    where.textContent = `Page ${number(state.page + 1)} of ${number(last() + 1)}`;
    steps.forEach((step, at) => {
      step.disabled = at < 2 ? state.page === 0 : state.page === last();
    });
  }
  function drawRow(row) {
    const tr = el("tr");
    columns.forEach((column, at) => {
      let content = column.cell(row);
      if (at === 0 && detail) {
        const twist = el(
          "button",
          {
            type: "button",
            class: "twist",
            "aria-expanded": "false",
            "aria-label": `Details of ${content.textContent ?? content}`,
            onclick: () => toggle(row),
          },
          "▸",
        );
        state.open.set(row, { tr, twist, more: null });
        content = el("div", { class: "first" }, twist, content);
      }
      tr.append(el("td", { class: column.number ? "number" : (column.class ?? "") }, content));
    });
    return tr;
  }
  function toggle(row) {
    const drawn = state.open.get(row);
    const opens = !drawn.more;
    if (opens) {
      drawn.more = el(
        "tr",
        { class: "more" },
        el("td", { colspan: String(columns.length) }, el("div", { class: "inside" }, detail(row))),
      );
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
  function clear(wanted = []) {
    if (search) {
      search.value = "";
      state.words = [];
    }
    selects.forEach((select, at) => {
      select.value = String(wanted[at] ?? "");
    });
    find();
  }
  find();
  return { root, reveal, clear, search };
}
