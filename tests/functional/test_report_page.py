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


class Page:
    """A report, opened."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1280, scheme: str = "light") -> Page:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        self.driver.get(path.as_uri())
        self.until_drawn()
        return self

    def until_drawn(self) -> None:
        """Waits for the plots: they are drawn once the browser has told how wide they may be."""
        WebDriverWait(self.driver, 30).until(lambda _: not self.all(".chart .plot:empty"), "a plot has not been drawn")

    def ask(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *args)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        (found,) = self.all(selector)
        return found

    def column(self, listing: str, at: int) -> list[str]:
        """The texts of a column of the rows in sight."""
        cells = f"[...document.querySelectorAll('#{listing} tbody > tr:not(.more) > td:nth-child({at})')]"
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
    page.open(report)
    logged = project.sql(
        "select sum(delivered), sum(missing), sum(rejected), sum(invalid), sum(retries) from main_pendo.pendo_runs"
        " group by run_id order by run_id desc"
    )
    shown = zip(*(page.column("run-list", at) for at in (3, 4, 5, 6, 9)), strict=True)
    assert [list(map(int, row)) for row in shown] == [list(map(int, row)) for row in logged]
    assert [text[1:] for text in page.column("run-list", 2)] == ["partial", "error", "warn"]
    # Rows as well as errors are drawn, each with its numbers for those who do not see them.
    labels = [each.get_attribute("aria-label") for each in page.all(".chart:first-child .slot")]
    assert [label.split(", ", 1)[1] for label in labels] == [
        f"delivered: {delivered:.0f}, missing: {missing:.0f}, rejected: {rejected:.0f}"
        for delivered, missing, rejected, *_ in reversed(logged)
    ]
    assert len(page.all(".chart:last-child .mark")) == 1
    assert {text for text in page.column("row-list", 1) if not text.startswith("u-")} == {IMAGE, SCRIPT, LINK}
    assert page.found("row-list") == "1 to 8 of 8"
    expect_in(page.one("#overview table").text, "people", "error")
    assert page.found("call-list") == f"1 to {len(page.column('call-list', 1))} of {len(read_report(report).calls())}"


def test_plots_are_for_everyone(report, page):
    page.open(report)
    plot = page.one(".chart:first-child .plot > svg")
    named = [
        page.one(f"#{plot.get_attribute(name)}").get_attribute("textContent")
        for name in ("aria-labelledby", "aria-describedby")
    ]
    assert named == ["Rows", "Rows delivered, missing and rejected in each run. Arrow keys go from run to run."]
    # One stop for the tab key; from there the arrows.
    stops = page.all(".chart:first-child .slot[tabindex='0']")
    assert len(stops) == 1
    page.ask("arguments[0].focus()", stops[0])
    tip = page.one(".chart:first-child .tip")
    latest = tip.text
    assert "rejected: 5" in latest
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert tip.text != latest
    assert "rejected: 0" in tip.text
    page.press(Keys.END)
    assert tip.text == latest
    page.one(".chart:first-child summary").click()
    WebDriverWait(page.driver, 30).until(lambda _: page.all(".chart:first-child .alt table"))
    table = page.one(".chart:first-child .alt table").text
    assert len(table.splitlines()) == 5
    page.select("runs", "Show", "others")
    page.until_drawn()
    assert len(page.all(".chart:first-child .slot")) == 2


def test_search_sort_and_filter(report, page):
    page.open(report)
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
    # The number of rows beside a reason leads to them.
    (reason,) = [each for each in page.all(".reasons li") if "rejected" in each.text and "u-7" in each.text]
    page.ask("arguments[0].scrollIntoView({block: 'center'})", reason)
    reason.find_element("css selector", "button").click()
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
    assert page.ask("document.activeElement.closest('.listing').id") == "row-list"
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
    call = page.press(Keys.TAB)
    assert call.text.startswith("#")
    page.press(Keys.ENTER)
    # At the call that carried the row, opened.
    assert page.ask("document.activeElement.closest('.listing').id") == "call-list"
    bodies = [each.text for each in page.all("#call-list pre")]
    assert bodies[0].startswith('[\n  {\n    "visitorId": "u-7",\n')
    assert bodies[1] == f"u-7: no such plan {IMAGE}{SCRIPT}"
    # Whatever can be clicked is something that the tab key finds.
    assert page.ask("[...document.querySelectorAll('[onclick], [role=button]')].length") == 0


def test_calls_are_drawn_when_they_are_looked_at(report, page):
    page.open(report)
    assert page.all("pre") == []
    page.select("call-list", "Outcome", "failed only")
    assert all(text.endswith("failed") for text in page.column("call-list", 5))
    failed = [call for call in read_report(report).calls() if call["failed"]]
    assert len(page.column("call-list", 1)) == len(failed) > 5
    page.select("call-list", "Sync", "others")
    page.one("#call-list input").send_keys("403", Keys.ENTER)
    assert page.column("call-list", 5) == ["✕403failed"]
    page.one("#call-list .twist").click()
    sent = '[\n  {\n    "visitorId": "u-1",\n    "values": {\n      "plan": "pro"\n    }\n  }\n]'
    assert page.one("#call-list pre").text == sent


def test_hostile_values_do_nothing(report, page, driver):
    page.open(report)
    # Everything that can be opened is, everywhere.
    page.ask("[...document.querySelectorAll('details')].forEach((each) => { each.open = true; })")
    page.ask("[...document.querySelectorAll('.twist')].forEach((each) => each.click())")
    page.one("#row-list input").send_keys(IMAGE, Keys.ENTER)
    page.until("row-list", "1 to 5 of 5 matches, 8 in all")
    shown = page.one("body").text
    expect_in(shown, IMAGE, SCRIPT, LINK)
    # An alert would have made each of these fail.
    assert (page.all("img, iframe, object, embed, form, base"), len(page.all("script"))) == ([], 3)
    assert {each.get_attribute("href").partition("#")[0] for each in page.all("a")} == {report.as_uri()}
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


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_it_fits_and_can_be_read(report, page, width, scheme):
    page.open(report, width, scheme)
    page.ask("[...document.querySelectorAll('details')].forEach((each) => { each.open = true; })")
    page.ask("[...document.querySelectorAll('.twist')].forEach((each) => each.click())")
    assert page.ask("innerWidth") == width
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert (sum(page.ask(CHANNELS, page.one("body"), "backgroundColor")) < 200) == (scheme == "dark")
    # WCAG 2: text of this size is to be read at 4.5 to 1.
    poor = {text for text, contrast in page.ask(CONTRASTS) if contrast < 4.5}
    assert not poor


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
    const skipped = node.closest("svg, .hidden-text, :disabled, option, noscript");
    if (!own || skipped || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const under = ground(node);
    const over = channels(style.color).slice(0, 3).map((each, at) =>
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
    # Generous, for a machine that has other things to do: it takes two seconds.
    page.driver.set_page_load_timeout(60)
    page.driver.set_script_timeout(30)
    page.open(project.target / "pendo_report.html")
    assert page.found("row-list") == "1 to 100 of 100,000"
    assert page.ask("document.querySelectorAll('*').length") < 4000
    page.one("#row-list input").send_keys("099998")
    page.until("row-list", "1 to 1 of 1 match, 100,000 in all")
    assert page.column("row-list", 1) == ["user-099998"]
    page.press(Keys.ESCAPE)
    page.until("row-list", "1 to 100 of 100,000")
    for _ in range(2):
        page.all("#row-list th button")[0].click()
    assert page.column("row-list", 1)[0] == "user-099999"
    page.ask("arguments[0].focus()", page.all("#row-list .pages button")[3])
    page.press(Keys.ENTER)
    assert page.ask("document.activeElement.closest('.listing').id") == "row-list"
    assert page.found("row-list") == "99,901 to 100,000 of 100,000"
    assert page.column("row-list", 1)[-1] == "user-000000"
    assert page.ask("document.querySelectorAll('*').length") < 4000


def test_a_page_without_a_run(project, page):
    project.model("people", PEOPLE, "select 'u-1' as id, 'pro' as plan")
    project.run("report").expect(0)
    page.open(project.target / "pendo_report.html")
    text = page.one("main").text
    assert "No run is logged yet. `dbt-pendo sync` makes the first." in text
    assert "never" in page.one("#overview table").text
