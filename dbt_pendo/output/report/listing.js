// A list to search, filter, sort and page through. Its place in it is the query of the page's address.

const PAGE = 20;
// So many can be looked through.
const FEW = 5;

// `items` are listed in `root`: `put` shows those of a page, and returns what gives the node of one. A filter has the
// `name` that the address gives it, a `label`, one or more values `of` an item, and perhaps `options`: each a value and
// its title. `found` hears of what is listed.
function listing({ root, name, items, put, text, empty, found = () => {}, filters: given }) {
  const filters = given.map(({ of, options = titled(items.flatMap(of)), ...rest }) => ({ of, options, ...rest }));
  const state = { words: [], sort: null, page: 0, node: () => null };
  const known = new Map();
  let shown = items;
  const said = el("p", { role: "status", class: "muted found" });
  const none = el("p", { class: "empty" });
  const steps = [
    ["First", () => 0],
    ["Previous", () => state.page - 1],
    ["Next", () => state.page + 1],
    ["Last", () => last()],
  ].map(([label, to]) => el("button", { type: "button", class: "plain", onclick: () => turn(to()) }, label));
  const where = el("span", { class: "muted" });
  const pages = el("div", { class: "pages" }, steps.slice(0, 2), where, steps.slice(2));
  const controls = el("div", { class: "controls" });
  const last = () => Math.max(0, Math.ceil(shown.length / PAGE) - 1);
  root.prepend(controls);
  root.append(none, el("div", { class: "below" }, said, pages));

  let search = null;
  if (text) {
    let waiting = 0;
    const now = () => {
      clearTimeout(waiting);
      changed();
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
    const select = el("select", { onchange: () => changed() }, el("option", { value: "" }, "all"));
    // An option stands for its place: its value is of our own making.
    options.forEach(([, title], at) => select.append(el("option", { value: String(at) }, clipped(title))));
    controls.append(el("label", {}, label, select));
    return select;
  });

  const chosen = (at) => (selects[at].value === "" ? null : filters[at].options[Number(selects[at].value)][0]);
  function haystack(item) {
    if (!known.has(item)) known.set(item, text(item).toLowerCase());
    return known.get(item);
  }
  // The address keeps what was looked for, without a new step of the history.
  function changed() {
    const query = new URLSearchParams();
    if (search?.value) query.set("q", search.value);
    filters.forEach((filter, at) => {
      if (chosen(at) !== null) query.set(filter.name, chosen(at));
    });
    history.replaceState(null, "", query.size ? `#${name}?${query}` : `#${name}`);
    find();
  }
  function find() {
    state.words = (search?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.map((filter, at) => [filter, chosen(at)]).filter(([, value]) => value !== null);
    controls.hidden = items.length <= FEW && !state.words.length && !wanted.length;
    shown = items.filter(
      (item) =>
        wanted.every(([{ of }, value]) => [of(item)].flat().includes(value)) &&
        state.words.every((word) => haystack(item).includes(word)),
    );
    if (state.sort) {
      const { by, down } = state.sort;
      const sign = down ? -1 : 1;
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
    found(shown, Object.fromEntries(filters.map((filter, at) => [filter.name, chosen(at)])));
  }
  function turn(to) {
    const pressed = document.activeElement;
    state.page = Math.min(Math.max(0, to), last());
    draw();
    // At an end the button that led there is disabled; the focus must not get lost with it.
    if (pressed.disabled) steps.find((step) => !step.disabled)?.focus({ preventScroll: true });
    if (root.getBoundingClientRect().top < 0) root.scrollIntoView();
  }
  function draw() {
    const from = state.page * PAGE;
    const part = shown.slice(from, from + PAGE);
    state.node = put(part);
    none.hidden = part.length > 0;
    none.textContent = items.length ? "Nothing matches." : empty;
    const all = number(items.length);
    const of =
      shown.length === items.length
        ? all
        : `${number(shown.length)} ${shown.length === 1 ? "match" : "matches"}, ${all} in all`;
    said.textContent = shown.length
      ? `${number(from + 1)} to ${number(from + part.length)} of ${of}`
      : `0 matches, ${all} in all`;
    said.hidden = !items.length;
    pages.hidden = last() === 0;
    where.textContent = `Page ${number(state.page + 1)} of ${number(last() + 1)}`;
    steps.forEach((step, at) => {
      step.disabled = at < 2 ? state.page === 0 : state.page === last();
    });
  }
  // Looks for what the query of an address says; opens the one that is meant, if there is one.
  function show(query, isMeant = () => false) {
    if (search) search.value = query.get("q") ?? "";
    filters.forEach((filter, at) => {
      const place = filter.options.findIndex(([value]) => value === query.get(filter.name));
      selects[at].value = place < 0 ? "" : String(place);
    });
    find();
    const at = shown.findIndex((item) => isMeant(item, state.node(item)));
    if (at < 0) return;
    state.page = Math.floor(at / PAGE);
    draw();
    const node = state.node(shown[at]);
    unfold(node);
    node.scrollIntoView({ block: "start" });
    node.querySelector("summary, .twist").focus({ preventScroll: true });
  }
  function sort(by, down) {
    state.sort = { by, down };
    find();
  }
  return { show, sort, search };
}

const titled = (values) => [...new Set(values)].sort().map((value) => [value, value || "none"]);

// A table of items, of which only one page is ever in the document.
function table({ root, caption, columns, detail, ...rest }) {
  const sorted = { at: null, down: false };
  let list = null;
  const heads = columns.map((column, at) => {
    const mark = el("span", { "aria-hidden": "true" });
    const sort = () => {
      sorted.down = sorted.at === at ? !sorted.down : Boolean(column.number);
      sorted.at = at;
      heads.forEach((each, place) => {
        if (!columns[place].by) return;
        const way = place !== at ? "none" : sorted.down ? "descending" : "ascending";
        each.setAttribute("aria-sort", way);
        each.querySelector("span").textContent = { none: "", ascending: "▴", descending: "▾" }[way];
      });
      list.sort(column.by, sorted.down);
    };
    return el(
      "th",
      { scope: "col", class: column.number ? "number" : "", "aria-sort": column.by ? "none" : null },
      column.by ? el("button", { type: "button", onclick: sort }, column.title, mark) : column.title,
    );
  });
  const whole = el(
    "table",
    { class: "cards" },
    el("caption", { class: "hidden-text" }, caption),
    el("thead", {}, el("tr", {}, heads)),
  );
  root.append(whole);
  const draw = (item) => {
    const body = el(
      "tbody",
      {},
      el(
        "tr",
        {},
        columns.map((column, at) =>
          el(
            "td",
            {
              class: `${column.number ? "number" : ""} ${column.class ?? ""}`.trim(),
              "data-title": at && !column.plain ? column.title : null,
            },
            column.cell(item),
          ),
        ),
      ),
    );
    foldable(body, () =>
      el("tr", { class: "more" }, el("td", { colspan: columns.length }, el("div", { class: "inside" }, detail(item)))),
    );
    return body;
  };
  const put = (part) => {
    const drawn = new Map(part.map((item) => [item, draw(item)]));
    whole.querySelectorAll("tbody").forEach((body) => body.remove());
    whole.append(...drawn.values());
    whole.hidden = !part.length;
    return (item) => drawn.get(item);
  };
  list = listing({ root, put, ...rest });
  return list;
}

// A list that is in the page as a whole: all but a page of it is hidden.
function enhanced({ nodes, items, ...rest }) {
  const nodeOf = new Map(items.map((item, at) => [item, nodes[at]]));
  const put = (part) => {
    const shown = new Set(part);
    nodeOf.forEach((node, item) => {
      node.hidden = !shown.has(item);
    });
    return (item) => nodeOf.get(item);
  };
  return listing({ items, put, ...rest });
}

// Puts a button before the first cell of a row, which shows and hides the row below it: `make` makes that.
function foldable(body, make) {
  const [row] = body.rows;
  const twist = el(
    "button",
    {
      type: "button",
      class: "twist",
      "aria-expanded": "false",
      "aria-label": `Details of ${row.cells[0].textContent.trim()}`,
      onclick: () => {
        if (body.rows.length < 2) body.append(make());
        const opens = twist.getAttribute("aria-expanded") === "false";
        body.rows[1].hidden = !opens;
        body.classList.toggle("open", opens);
        twist.setAttribute("aria-expanded", String(opens));
        twist.textContent = opens ? "▾" : "▸";
      },
    },
    "▸",
  );
  row.cells[0].prepend(twist);
  if (body.rows[1]) body.rows[1].hidden = true;
}
// Opens an item of a list, if it is closed.
function unfold(node) {
  if (node.matches("details")) node.open = true;
  else node.querySelector(".twist[aria-expanded=false]")?.click();
}
