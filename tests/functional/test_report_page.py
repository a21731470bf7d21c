"""The report in a real browser: what it shows, how it is used, and what hostile values can do in it (nothing).

`make test-report` installs what this needs: Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, expect_in, refuse
from report_file import read_report
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from dbt_pendo.sandbox import Fault, Sandbox

if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip("there is no Chromium", allow_module_level=True)

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(1)</script>"
LINK = "javascript:alert(1)"
TABS = ("overview", "runs", "syncs", "rows", "calls")


class Page:
    """A report, opened."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1280, scheme: str = "light", at: str = "") -> Page:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        # Else it would be the same page, gone to another place in it.
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + at)
        self.until_drawn()
        return self

    def go(self, to: str) -> None:
        """Goes to a place in the page, as a link to it does."""
        self.ask("void (location.hash = arguments[0])", to)
        section = to.partition("?")[0].partition("-")[0].removesuffix("s") + "s" if to != "overview" else to
        WebDriverWait(self.driver, 30).until(lambda _: self.tab() == section, to)
        self.until_drawn()

    def tab(self) -> str:
        """The only section in sight, which is the one that the tabs name."""
        shown = [each.get_attribute("id") for each in self.all("main > section") if each.is_displayed()]
        named = [each.get_attribute("hash") for each in self.all("nav a[aria-current]")]
        assert (len(shown), named) == (1, [f"#{shown[0]}"])
        return str(shown[0])

    def until_drawn(self) -> None:
        """Waits for the plots: they are drawn once the browser has told how wide they may be."""
        empty = "[...document.querySelectorAll('.plot:empty')].filter((each) => each.checkVisibility()).length"
        WebDriverWait(self.driver, 30).until(lambda _: not self.ask(empty), "a plot has not been drawn")

    def open_all(self) -> None:
        """Opens everything that can be opened in the tab."""
        self.ask("[...document.querySelectorAll('details')].forEach((each) => { each.open = true; })")
        self.ask("[...document.querySelectorAll('.twist[aria-expanded=false]')].forEach((each) => each.click())")

    def ask(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *args)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        (found,) = self.all(selector)
        return found

    def column(self, listing: str, at: int) -> list[str]:
        """The texts of a column of the rows in sight."""
        cells = f"[...document.querySelectorAll('#{listing} tbody:not([hidden]) > tr:not(.more) > td:nth-child({at})')]"
        return [str(text).removeprefix("▸") for text in self.ask(f"{cells}.map((cell) => cell.textContent)")]

    def found(self, listing: str) -> str:
        return self.one(f"#{listing} .found").text

    def until(self, listing: str, text: str) -> None:
        """Waits until a list says how much it has found."""
        WebDriverWait(self.driver, 30).until(
            lambda _: self.found(listing) == text, f"{text}, not {self.found(listing)}"
        )

    def press(self, *keys: str) -> WebElement:
        """Presses keys where the focus is, and returns where it is then."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)
        return self.driver.switch_to.active_element

    def select(self, within: str, label: str, option: str) -> None:
        for each in self.all(f"#{within} .controls label"):
            if each.text.startswith(label):
                each.find_element("xpath", f".//option[normalize-space()='{option}']").click()
                return
        raise AssertionError(f"no {label}")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    # Where one is missing, starting it fails: `make test-report` has installed both.
    chromium, chromedriver = (shutil.which(name) or name for name in ("chromium", "chromedriver"))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    running = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    yield running
    running.quit()


@pytest.fixture
def page(driver: webdriver.Chrome) -> Iterator[Page]:
    """A browser; whatever a test does in it, the page logs no error and fetches nothing."""
    driver.get("about:blank")
    driver.get_log("browser")
    opened = Page(driver)
    yield opened
    assert (driver.get_log("browser"), opened.ask("performance.getEntriesByType('resource').length")) == ([], 0)


@pytest.fixture
def report(project: SmallProject, sandbox: Sandbox) -> Path:
    """A report of three runs with every kind of row: the second has a sync that failed, the third a hostile row."""
    visitors = [f"u-{number}" for number in range(40)]
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_field("visitor", "custom", "danger", "string", display_name=IMAGE)
    sandbox.add_visitors([*visitors, IMAGE, SCRIPT, LINK])
    mapping = {**PEOPLE, "fields": {"plan": "plan", IMAGE: "danger"}, "batch_size": 10}
    rows = "select 'u-' || range as id, 'pro' as plan, 'x' as danger from range(42)"
    project.model("people", mapping, rows)
    project.model("others", PEOPLE, "select 'u-1' as id, 'free' as plan")
    sandbox.fail(Fault(status=503, body="busy", path="custom/value", times=1))
    project.sync()
    sandbox.fail(Fault(status=403, path="custom/value", times=1))
    project.build("others", "select 'u-1' as id, 'pro' as plan")
    project.sync("--select", "others", status=1)
    for each in (IMAGE, SCRIPT, LINK, "u-7", "u-30"):
        for spelt in {each, each.replace("/", r"\/")}:
            refuse(sandbox, spelt, f"{each}: no such plan {IMAGE}{SCRIPT}")
    hostile = ", ".join(f"('{each}', '{each}', '{each}')" for each in (IMAGE, SCRIPT, LINK))
    project.build(
        "people",
        f"{rows.replace('pro', 'team')} union all select * from (values {hostile}) rows(id, plan, danger)"
        " union all select 'u-0', 'twice', 'x'",
    )
    project.sync("--select", "people", status=1)
    project.run("report").expect(0)
    return project.target / "pendo_report.html"


def test_it_shows_what_the_warehouse_has(report, project, page):
    page.open(report, at="#runs")
    logged = project.sql(
        "select sum(delivered), sum(missing), sum(rejected), sum(invalid), sum(retries) from main_pendo.pendo_runs"
        " group by run_id order by run_id desc"
    )
    shown = zip(*(page.column("run-list", at) for at in (3, 4, 5, 6, 9)), strict=True)
    assert [list(map(int, row)) for row in shown] == [list(map(int, row)) for row in logged]
    assert [text[1:] for text in page.column("run-list", 2)] == ["partial", "error", "warn"]
    # Rows as well as errors are drawn, each with its numbers for those who do not see them.
    labels = [each.get_attribute("aria-label") for each in page.all("#runs .slot")]
    assert [label.split(", ", 1)[1].split(", held")[0] for label in labels] == [
        f"delivered: {delivered:.0f}, missing: {missing:.0f}, rejected: {rejected:.0f}, invalid: {invalid:.0f}"
        for delivered, missing, rejected, invalid, _ in reversed(logged)
    ]
    assert len(page.all("#runs .mark")) == 1
    page.go("rows")
    assert {text for text in page.column("row-list", 1) if not text.startswith("u-")} == {IMAGE, SCRIPT, LINK}
    assert page.found("row-list") == "1 to 8 of 8"
    page.go("overview")
    expect_in(page.one("#overview table").text, "people", "error")
    page.go("calls?outcome=failed")
    failed = len(page.column("call-list", 1))
    assert page.found("call-list") == f"1 to {failed} of {failed} matches, {len(read_report(report).calls())} in all"
    page.go("calls")
    assert page.found("call-list") == f"1 to {len(page.column('call-list', 1))} of {len(read_report(report).calls())}"


def test_plots_are_for_everyone(report, page):
    page.open(report)
    plot = page.one("#overview .plot > svg")
    named = [
        page.one(f"#{plot.get_attribute(name)}").get_attribute("textContent")
        for name in ("aria-labelledby", "aria-describedby")
    ]
    assert named == ["Runs", "Rows and seconds of each run. Arrow keys go from run to run, Enter to the run."]
    # One stop for the tab key; from there the arrows.
    stops = page.all("#overview .slot[tabindex='0']")
    assert len(stops) == 1
    page.ask("arguments[0].focus()", stops[0])
    tip = page.one("#overview .tip")
    latest = tip.text
    assert "rejected: 5" in latest
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert tip.text != latest
    assert "rejected: 0" in tip.text
    page.press(Keys.END)
    assert tip.text == latest
    # Enter goes to the run, and opens it.
    page.press(Keys.HOME, Keys.ENTER)
    first = read_report(report).data["runs"][-1]["run_id"]
    WebDriverWait(page.driver, 30).until(lambda _: page.tab() == "runs")
    assert page.driver.current_url.endswith(f"#run-{first}")
    assert f"dbt-pendo show {first}" in page.one("#run-list .open").text
    assert page.ask("document.activeElement.closest('tbody').id") == f"run-{first}"
    # Of one sync only.
    page.go("runs?sync=others")
    assert page.one("#runs .chart h3").text == "others"
    assert len(page.all("#runs .slot")) == 2


def test_search_sort_and_filter(report, page):
    page.open(report, at="#rows")
    search = page.one("#row-list input")
    search.send_keys("U-7 plan")
    page.until("row-list", "1 to 1 of 1 match, 8 in all")
    assert page.column("row-list", 1) == ["u-7"]
    search.send_keys(Keys.ESCAPE)
    page.until("row-list", "1 to 8 of 8")
    search.send_keys("nothing like this", Keys.ENTER)
    page.until("row-list", "0 matches, 8 in all")
    search.send_keys(Keys.ESCAPE)
    heads = page.all("#row-list th")
    assert heads[0].get_attribute("aria-sort") == "none"
    page.ask("arguments[0].focus()", page.all("#row-list th button")[0])
    page.press(Keys.ENTER)
    assert heads[0].get_attribute("aria-sort") == "ascending"
    up = page.column("row-list", 1)
    assert up == sorted(up)
    page.press(Keys.SPACE)
    assert heads[0].get_attribute("aria-sort") == "descending"
    assert page.column("row-list", 1) == sorted(up, reverse=True)
    page.select("row-list", "Status", "missing")
    page.until("row-list", "1 to 2 of 2 matches, 8 in all")
    assert set(page.column("row-list", 1)) == {"u-40", "u-41"}
    # The address keeps what was looked for.
    page.driver.refresh()
    page.until("row-list", "1 to 2 of 2 matches, 8 in all")
    # The number of rows beside a reason leads to them.
    page.go("sync-people")
    (reason,) = [each for each in page.all(".reasons li") if "rejected" in each.text and "u-7" in each.text]
    page.ask("arguments[0].scrollIntoView({block: 'center'})", reason)
    reason.find_element("css selector", "a").click()
    page.until("row-list", "1 to 5 of 5 matches, 8 in all")


def test_it_can_be_used_by_keyboard_alone(report, page):
    page.open(report)
    skip = page.press(Keys.TAB)
    assert skip.text == "Skip to the report"
    assert page.ask("arguments[0].getBoundingClientRect().top >= 0", skip)
    page.press(Keys.ENTER)
    assert page.ask("document.activeElement.id") == "main"
    assert page.ask("getComputedStyle(document.querySelector('nav a')).outlineStyle") == "none"
    page.press("/")
    assert (page.tab(), page.ask("document.activeElement.closest('.listing').id")) == ("rows", "row-list")
    # A slash typed there is a slash.
    page.press("u-7/")
    assert page.one("#row-list input").get_attribute("value") == "u-7/"
    page.press(Keys.BACKSPACE, Keys.ENTER)
    page.until("row-list", "1 to 1 of 1 match, 8 in all")
    # On by tab: two selects, the box of the table, its sort buttons, then the row.
    for _ in range(20):
        if (at := page.press(Keys.TAB)).get_attribute("class") == "twist":
            break
    assert page.ask("getComputedStyle(arguments[0]).outlineStyle", at) == "solid"
    page.press(Keys.ENTER)
    assert at.get_attribute("aria-expanded") == "true"
    assert "dbt-pendo row people u-7" in page.one("#row-list tr.more").text
    # On to its sync, and to its call.
    assert page.press(Keys.TAB).text == "people"
    assert page.press(Keys.TAB).text.startswith("#")
    page.press(Keys.ENTER)
    WebDriverWait(page.driver, 30).until(lambda _: page.tab() == "calls")
    # At the call that carried the row, opened.
    assert page.ask("document.activeElement.closest('.listing').id") == "call-list"
    # What went wrong comes first.
    bodies = [each.text for each in page.all("#call-list pre")]
    assert bodies[0] == f"u-7: no such plan {IMAGE}{SCRIPT}"
    assert bodies[1].startswith('[\n  {\n    "visitorId": "u-7",\n')
    page.driver.back()
    page.until("row-list", "1 to 1 of 1 match, 8 in all")
    # Whatever can be clicked is something that the tab key finds.
    assert page.ask("[...document.querySelectorAll('[onclick], [role=button]')].length") == 0


def test_calls_are_drawn_when_they_are_looked_at(report, page):
    page.open(report)
    assert page.all("pre, #call-list tbody") == []
    page.go("calls")
    failed = [call for call in read_report(report).calls() if call["failed"]]
    # What went wrong comes first, and says what.
    answers = [text.endswith("failed") for text in page.column("call-list", 1)]
    assert answers == sorted(answers, reverse=True)
    assert any("POST" in text and "no such plan" in text for text in page.column("call-list", 3))
    page.select("call-list", "Outcome", "failed only")
    assert all(text.endswith("failed") for text in page.column("call-list", 1))
    assert len(page.column("call-list", 1)) == len(failed) > 5
    page.select("call-list", "Sync", "others")
    page.one("#call-list input").send_keys("403", Keys.ENTER)
    assert page.column("call-list", 1) == ["✕403failed"]
    page.one("#call-list .twist").click()
    sent = '[\n  {\n    "visitorId": "u-1",\n    "values": {\n      "plan": "pro"\n    }\n  }\n]'
    assert page.all("#call-list pre")[-1].text == sent


def test_hostile_values_do_nothing(report, page, driver):
    page.open(report)
    for tab in TABS:
        page.go(tab)
        page.open_all()
    page.go("rows")
    page.one("#row-list input").send_keys(IMAGE, Keys.ENTER)
    page.until("row-list", "1 to 5 of 5 matches, 8 in all")
    shown = page.one("body").text
    expect_in(shown, IMAGE, SCRIPT, LINK)
    # Not even in the address.
    page.driver.refresh()
    page.until("row-list", "1 to 5 of 5 matches, 8 in all")
    page.go(f"calls?sync={IMAGE}&q={SCRIPT}&call={LINK}")
    # An alert would have made each of these fail.
    assert (page.all("img, iframe, object, embed, form, base"), len(page.all("script"))) == ([], 3)
    assert {href[0] for href in page.ask("[...document.querySelectorAll('a')].map((a) => a.getAttribute('href'))")} == {
        "#"
    }
    active = page.ask(
        "[...document.querySelectorAll('*')].flatMap((each) => [...each.attributes])"
        ".filter(({ name }) => name.startsWith('on') || name === 'style' || name === 'src').length"
    )
    assert active == 0
    assert driver.title == "small: dbt-pendo report"


def test_even_a_slip_would_do_nothing(report, driver):
    page = Page(driver).open(report)
    page.ask("document.body.insertAdjacentHTML('beforeend', arguments[0])", "<img src=x onerror='window.ran = 1'>")
    page.ask("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 2'}))")
    page.ask("document.body.append(Object.assign(document.createElement('script'), {src: 'http://127.0.0.1:9/x.js'}))")
    WebDriverWait(driver, 10).until(
        lambda _: page.ask("fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'refused')") == "refused"
    )
    assert page.ask("window.ran") is None
    told = " ".join(entry["message"] for entry in driver.get_log("browser"))
    expect_in(told, "script-src", "img-src", "default-src")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 1030, 800, 390])
def test_it_fits_and_can_be_read(report, page, width, scheme):
    page.open(report, width, scheme)
    assert (sum(page.ask(CHANNELS, page.one("body"), "backgroundColor")) < 200) == (scheme == "dark")
    for tab in TABS:
        page.go(tab)
        page.open_all()
        assert page.ask("innerWidth") == width
        assert page.ask("document.documentElement.scrollWidth") <= width
        # Nothing is cut, and nothing has to be moved to the side.
        assert page.ask(CUT) == []
        # WCAG 2: text of this size is to be read at 4.5 to 1.
        seen = page.ask(CONTRASTS)
        assert len(seen) > 20
        assert not {text for text, contrast in seen if contrast < 4.5}


# What is wider than its place: it is cut, or can be scrolled to the side.
CUT = """[...document.querySelectorAll("main *, header *, nav *, footer *")]
  .filter((node) => node.getClientRects().length && !node.closest(".hidden-text, svg, h2, select"))
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 1 ||
    (node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX !== "visible"))
  .map((node) => `${node.tagName} ${node.className} ${node.textContent.slice(0, 30)}`)"""
CHANNELS = "getComputedStyle(arguments[0])[arguments[1]].match(/[\\d.]+/g).slice(0, 3).map(Number)"
CONTRASTS = """(() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
    .map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = channels(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const seen = [];
  for (const node of document.querySelectorAll("main *, header *, footer *")) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
    const skipped = node.closest("svg title, svg desc, .hidden-text, h2, :disabled, option, noscript");
    if (!own || skipped || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const under = ground(node);
    const over = channels(node.closest("svg") ? style.fill : style.color).slice(0, 3).map((each, at) =>
      each * style.opacity + under[at] * (1 - style.opacity));
    const [high, low] = [light(over), light(under)].sort((a, b) => b - a);
    seen.push([`${node.tagName} ${node.className} ${node.textContent.slice(0, 30)}`, (high + 0.05) / (low + 0.05)]);
  }
  return seen;
})()"""


def test_a_hundred_thousand_rows_are_no_trouble(project, plans, page):
    project.model("people", PEOPLE, "select 'u-1' as id, 'pro' as plan")
    project.sync()
    project.sql(
        "insert into main_pendo.people__ledger (record_key, row_hash, status, detail, attempts, run_id, logged_at,"
        " destination, commit_number)"
        " select format('user-{:06d}', range), 'x', 'rejected', 'HTTP 400: user ' || range || ' has no such plan', 1,"
        " (select run_id from main_pendo.pendo_runs), now()::timestamp, 'visitor', 1 from range(100000)"
    )
    project.run("report").expect(0)
    # Generous, for a machine that has other things to do: it takes half a second.
    page.driver.set_page_load_timeout(60)
    page.driver.set_script_timeout(30)
    page.open(project.target / "pendo_report.html", at="#rows")
    assert page.found("row-list") == "1 to 20 of 100,000"
    assert page.ask("document.querySelectorAll('*').length") < 1500
    page.one("#row-list input").send_keys("099998")
    page.until("row-list", "1 to 1 of 1 match, 100,000 in all")
    assert page.column("row-list", 1) == ["user-099998"]
    page.press(Keys.ESCAPE)
    page.until("row-list", "1 to 20 of 100,000")
    for _ in range(2):
        page.all("#row-list th button")[0].click()
    assert page.column("row-list", 1)[0] == "user-099999"
    page.ask("arguments[0].focus()", page.all("#row-list .pages button")[3])
    page.press(Keys.ENTER)
    assert page.ask("document.activeElement.closest('.listing').id") == "row-list"
    assert page.found("row-list") == "99,981 to 100,000 of 100,000"
    assert page.column("row-list", 1)[-1] == "user-000000"
    assert page.ask("document.querySelectorAll('*').length") < 1500


def test_tabs_have_addresses(report, page):
    page.open(report)
    assert page.tab() == "overview"
    for name, tab in zip(("Runs", "Syncs", "Rows", "Calls"), TABS[1:], strict=True):
        page.driver.find_element("partial link text", name).click()
        WebDriverWait(page.driver, 30).until(lambda _, tab=tab: page.tab() == tab, tab)
        assert page.driver.current_url.endswith(f"#{tab}")
    for tab in ("rows", "syncs", "runs"):
        page.driver.back()
        WebDriverWait(page.driver, 30).until(lambda _, tab=tab: page.tab() == tab, tab)
    page.driver.refresh()
    assert page.tab() == "runs"
    # To one run, one sync, one call; to nothing that is known.
    run = read_report(report).data["runs"][1]["run_id"]
    page.open(report, at=f"#run-{run}")
    assert [each.get_attribute("id") for each in page.all(".open")] == [f"run-{run}"]
    page.open(report, at="#sync-people")
    assert [each.get_attribute("id") for each in page.all(".sync[open]")] == ["sync-people"]
    page.open(report, at=f"#calls?run={run}&call=1")
    expect_in(page.one("#call-list .open").text, run)
    page.open(report, at="#rows?sync=people&status=missing")
    assert set(page.column("row-list", 1)) == {"u-40", "u-41"}
    assert (page.open(report, at="#of-old").tab(), page.open(report, at="#main").tab()) == ("overview", "overview")


def test_without_a_script_all_follows_each_other(report, driver):
    page = Page(driver)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(report.as_uri())
        shown = [each.get_attribute("id") for each in page.all("main > section") if each.is_displayed()]
        assert shown == [*TABS]
        expect_in(page.one("#runs").text, "dbt-pendo show", "partial")
        assert page.one("noscript .notice").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.fixture
def long(project: SmallProject, sandbox: Sandbox, plans: Any) -> Path:
    """A report of 45 runs of 31 syncs, with 60 rows that were not delivered and 70 calls; the first run was large."""
    sandbox.add_visitors([f"u-{number}" for number in range(60)])
    project.model("people", {**PEOPLE, "batch_size": 1}, "select 'u-' || range as id, 'pro' as plan from range(60)")
    for number in range(60):
        refuse(sandbox, f"u-{number}", "no such plan")
    project.sync(status=1)
    # Each a day earlier than the one before.
    began = "strptime(run_id[:15], '%Y%m%dT%H%M%S') - to_days(n::integer)"
    moved = f"strftime({began}, '%Y%m%dT%H%M%S') || run_id[16:]"
    project.sql(
        "create table copies as select * replace ("
        f"{moved} as run_id, case when s then 'sync_' || n else sync end as sync, "
        "case when n = 44 then 1000000 else 5 end as delivered, 3 as held, 2 as invalid)"
        " from main_pendo.pendo_runs, range(1, 45) runs(n), (values (true), (false)) kinds(s) where n <= 30 or not s"
    )
    project.sql("insert into main_pendo.pendo_runs by name select * exclude (n, s) from copies")
    project.run("report").expect(0)
    return project.target / "pendo_report.html"


def test_every_list_has_twenty_a_page_and_no_tab_is_long(long, page):
    page.open(long)
    # About a screen of 1,280 by 800.
    assert page.ask("document.documentElement.scrollHeight") <= 900
    for width, tallest in ((1280, 1700), (390, 3600)):
        page.open(long, width)
        for tab, listed in zip(TABS[1:], ("run", "sync", "row", "call"), strict=True):
            page.go(tab)
            assert page.found(f"{listed}-list").startswith("1 to 20 of ")
            items = page.all(f"#{listed}-list > .sync, #{listed}-list > table > tbody")
            assert len([each for each in items if each.is_displayed()]) == 20
            assert page.ask("document.documentElement.scrollHeight") < tallest, tab
    # On to the next page; a link finds its item on whichever.
    page.go("runs")
    page.all("#run-list .pages button")[2].click()
    assert page.found("run-list") == "21 to 40 of 45"
    first = read_report(long).data["runs"][-1]["run_id"]
    page.go(f"run-{first}")
    assert (page.found("run-list"), page.one(".open").get_attribute("id")) == ("41 to 45 of 45", f"run-{first}")


def test_one_first_load_flattens_nothing_and_bars_lead_to_their_runs(long, page):
    page.open(long, at="#runs")
    slots = page.all("#runs .slot")
    runs = read_report(long).data["runs"]
    assert [each.get_dom_attribute("href") for each in slots] == [f"#run-{run['run_id']}" for run in reversed(runs)]
    first, second = (float(each.get_dom_attribute("height")) for each in page.all("#runs .fill-delivered")[:2])
    # A million rows, then five.
    assert first / 10 < second < first / 2
    assert len(page.all("#runs .fill-invalid")) == len(page.all("#runs .fill-held")) == 44
    assert len(page.all("#runs .fill-rejected")) == 45
    # Days below the bars, the latest among them.
    days = [each.text for each in page.all("#runs .axis")]
    told = {run["began_at"][:10] for run in runs}
    assert runs[0]["began_at"][:10] in days
    assert len(told.intersection(days)) > 5
    slots[0].click()
    WebDriverWait(page.driver, 30).until(lambda _: page.all(".open"))
    assert page.one(".open").get_attribute("id") == f"run-{runs[-1]['run_id']}"


def test_trouble_comes_first_in_its_colours(project, sandbox, plans, page):
    sandbox.add_visitors(["u-1", "u-2"])
    for name, key in (("aaa", "u-1"), ("bbb", "unknown"), ("ccc", "u-2"), ("ddd", "u-1")):
        project.model(name, PEOPLE, f"select '{key}' as id, '{name}' as plan")
    refuse(sandbox, "u-2", "no such plan")
    sandbox.fail(Fault(status=403, path="custom/value", body_contains="ddd", times=None))
    project.sync(status=1)
    project.run("report").expect(0)
    page.open(project.target / "pendo_report.html")
    names = [each.text for each in page.all("#overview .key")]
    pills = [each.text.split()[-1] for each in page.all("#overview td .pill")]
    assert list(zip(names, pills, strict=True)) == [
        *(("ddd", "error"), ("ccc", "partial"), ("bbb", "warn"), ("aaa", "success"))
    ]
    # What is wrong, and what to do.
    reasons = [each.text for each in page.all("#overview .wrong")]
    expect_in(reasons[0], "403", "dbt-pendo sync --select ddd")
    expect_in(reasons[1], "1 rejected: HTTP 400: no such plan", "dbt-pendo sync --select ccc")
    expect_in(reasons[2], "1 missing", "dbt-pendo verify --select bbb")
    assert len(reasons) == 3
    assert page.one("#verdict strong").text == "1 of 4 syncs failed"
    page.go("syncs")
    assert [each.text for each in page.all(".sync h3")] == names
    page.go("overview")
    for scheme in ("light", "dark"):
        page.open(project.target / "pendo_report.html", scheme=scheme)
        bad, partial, warn, good = (
            page.ask(CHANNELS, each, "backgroundColor" if "error" in each.text else "color")
            for each in page.all("#overview td .pill")
        )
        # Red, red, amber, green.
        assert bad == partial
        assert partial[0] > 1.5 * max(partial[1:])
        assert warn[0] > warn[1] > 1.5 * warn[2]
        assert good[1] > max(good[0], good[2])


def test_a_model_is_a_link_to_its_page_in_dbt_docs(project, sandbox, plans, page, monkeypatch):
    project.model("people", PEOPLE, "select 'u-1' as id, 'pro' as plan")
    project.run("report").expect(0)
    assert page.open(project.target / "pendo_report.html", at="#sync-people").all("a.docs") == []
    for url, link in (
        ("https://dbt.example.com/docs/", "https://dbt.example.com/docs/#!/model/model.small.people"),
        ("http://dbt.example.com/index.html", "http://dbt.example.com/index.html#!/model/model.small.people"),
    ):
        monkeypatch.setenv("DBT_PENDO_DOCS_URL", url)
        project.run("report").expect(0)
        page.open(project.target / "pendo_report.html", at="#sync-people")
        assert page.one("a.docs").get_attribute("href") == link
    for url in (LINK, "file:///etc/passwd", "dbt.example.com"):
        project.run("report", "--docs-url", url).expect(2)


def test_a_page_without_a_run(project, page):
    project.model("people", PEOPLE, "select 'u-1' as id, 'pro' as plan")
    project.run("report").expect(0)
    page.open(project.target / "pendo_report.html")
    text = page.one("main").text
    assert "No run is logged yet. `dbt-pendo sync` makes the first." in text
    assert "never" in page.one("#overview table").text
