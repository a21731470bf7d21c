"""What is generated on the pages is not old; links and anchors lead somewhere; the README is short."""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import markdown
import pytest
import yaml
from harness import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "docs"))

import capture
import generate

from dbt_pendo.cli import COMMANDS, cli
from dbt_pendo.mapping.keys import json_schema
from dbt_pendo.output.links import FILE as LINKS
from dbt_pendo.output.links import link_to
from dbt_pendo.sandbox import Sandbox, load_subscription

DOCS = REPOSITORY / "docs"
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "sample_project/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found, seen = set(), dict[str, int]()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|\\(.)", r"\1\2", heading)
        slug = re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        seen[slug] = seen.get(slug, 0) + 1
        found.add(slug if seen[slug] == 1 else f"{slug}-{seen[slug] - 1}")
    return found


@pytest.mark.parametrize("page", generate.pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_what_is_generated_is_not_old(page):
    assert generate.renewed(page) == page.read_text(encoding="utf-8"), "Run docs/generate.py"


def test_the_places_that_errors_link_to_are_not_old():
    assert generate.links() == LINKS.read_text(encoding="utf-8"), "Run docs/generate.py"


def test_errors_link_to_anchors_that_the_site_has():
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    # As mkdocs.yml has it.
    html = markdown.markdown(page, extensions=["attr_list", "tables", "toc"])
    known = set(re.findall(r'<h\d id="([^"]+)"', html))
    links = json.loads(LINKS.read_text(encoding="utf-8"))
    assert set(links["anchors"].values()) <= known
    assert len(set(links["anchors"].values())) == len(links["anchors"])


def test_the_address_of_the_site_is_the_same_everywhere():
    site = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))["site_url"]
    assert json.loads(LINKS.read_text(encoding="utf-8"))["page"] == f"{site}reference/errors/"
    urls = importlib.metadata.metadata("dbt-pendo").get_all("Project-URL")
    assert urls == [f"Documentation, {site.rstrip('/')}", f"Changelog, {site}changelog/"]


@pytest.mark.parametrize(
    ("message", "anchor"),
    [
        ("There is no selector 'x' in selectors.yml.", "there-is-no-selector-in-selectorsyml"),
        ("models/a.yml: a: meta.pendo.fields.b: expected a column's name, found 1", "expected-a-columns-name-found"),
        ('people: "a"."b" has no column `c`. Its columns: d.', "has-no-column"),
        ("The profile in / cannot be used:\n  Runtime Error\n  No such file", "the-profile-in-cannot-be-used"),
        # Of two that say the same, the longer.
        ("people: Pendo has no custom visitor field `x`. Did you mean `y`?", "pendo-has-no-field"),
        ("m: unknown key; did you mean `fields`?\nn: expected a column's name, found 1", "unknown-key-did-you-mean"),
        ("3 rejected: HTTP 400 (3, e.g. b)", ""),
    ],
)
def test_a_message_has_its_place(message, anchor):
    page = json.loads(LINKS.read_text(encoding="utf-8"))["page"]
    assert link_to(message) == (anchor and f"{page}#{anchor}")


def test_something_is_generated_of_each_kind():
    text = "".join(page.read_text(encoding="utf-8") for page in generate.pages())
    for name in ("mapping visitor", "commands", "commands-table", "settings", "errors", "file cron.sh"):
        assert f"<!-- generated {name} -->\n\n" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page):
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{link}: there is no such file"
        # The site holds docs/ alone.
        assert DOCS not in page.parents or there.is_relative_to(DOCS), f"{link} leads out of the site"
        assert not anchor or anchor in anchors(there), f"{link}: there is no such anchor"


def test_each_page_is_in_the_navigation_and_has_one_title():
    nav = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = re.findall(r"[\w./-]+\.md", str(nav))
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        # What the search shall know of a page may come before its title.
        assert re.match(r"(---\nsearch:\n.*?\n---\n)?# ", text, re.DOTALL), page
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, page
        # The site fetches nothing from other hosts, and so cannot draw it.
        assert "```mermaid" not in page.read_text(encoding="utf-8"), page


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    found = re.findall(
        rf"^( *)```{language}\b[^\n]*\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def mappings(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict):
        if "object" in document:
            yield document
        else:
            for value in document.values():
                yield from mappings(value)
    elif isinstance(document, list):
        for value in document:
            yield from mappings(value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_mappings_and_commands_of_a_page_are_sound(page):
    validator = jsonschema.Draft202012Validator(json_schema())
    for text in blocks(page, "yaml"):
        for mapping in mappings(yaml.safe_load(text)):
            validator.validate([mapping] if "name" in mapping else mapping)
    context = click.Context(cli)
    for line in "\n".join(blocks(page, "sh")).splitlines():
        for command, rest in re.findall(r"\bdbt-pendo (\w+)([^&|#]*)", line.split("  #")[0]):
            assert command in COMMANDS, line
            known = {
                flag for one in cli.get_command(context, command).params for flag in (*one.opts, *one.secondary_opts)
            }
            assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest)) <= known, line


def test_the_output_in_the_readme_is_that_of_the_page():
    (shown,) = blocks(REPOSITORY / "README.md", "text")
    page = capture.comparable((DOCS / "get-started" / "first-sync.md").read_text(encoding="utf-8"))
    assert capture.comparable(shown) in page


def test_the_sandbox_loads_the_subscription_of_the_page(tmp_path):
    (document,) = blocks(DOCS / "get-started" / "demo-and-sandbox.md", "json")
    (tmp_path / "subscription.json").write_text(document)
    with Sandbox() as sandbox:
        load_subscription(sandbox, tmp_path / "subscription.json")
        assert sorted(sandbox.visitors) == json.loads(document)["visitors"]


def test_the_readme_is_read_in_ten_minutes():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert len(text.split()) < 2_000


def test_pages_named_in_code_exist():
    for folder in ("dbt_pendo", "macros", "models", "tests", "benchmarks", ".ci", "sample_project"):
        command = ["git", "grep", "-hoE", r"docs/[a-z_/-]+\.(md|py|svg|png)", "--", folder]
        named = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
        for path in set(named.split()):
            assert (REPOSITORY / path).exists(), f"{folder} names {path}"
