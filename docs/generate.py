"""Write into the pages what the code says of itself: keys, commands, settings, errors, and the files of recipes.

    .venv/bin/python docs/generate.py [--check]

What stands between ``<!-- generated NAME -->`` and ``<!-- end -->`` is generated. So is the file by which the tool
finds the place of an error on its page. ``--check`` writes nothing, and names what is old. tests/unit/test_docs.py does
the same.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from dbt_pendo.cli import COMMANDS, cli
from dbt_pendo.cli.help import EXAMPLES, statuses_of
from dbt_pendo.cli.options import OUTPUT, PROFILE, RUN_FLAGS, SELECTION
from dbt_pendo.mapping.keys import KEYS_OF, json_schema
from dbt_pendo.mapping.kinds import RowValue
from dbt_pendo.output.links import FILE as LINKS
from dbt_pendo.pendo import advice
from dbt_pendo.settings import REGIONS, SETTINGS, Settings

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MARKED = re.compile(r"^<!-- generated (?P<name>.+?) -->\n(?:.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE)
LANGUAGES = {".py": "python", ".sh": "bash", ".yml": "yaml"}

# What a setting's default depends on.
DEFAULTS = {
    "api_url": "by region",
    "data_url": "by region; `api_url` if that is set",
    "timeout": "60; 300 for bulk calls, segments and reading back",
    "schema": "`<target schema>_pendo`; with a sandbox `<target schema>_pendo_sandbox`",
    "sandbox": "`true` if both URLs are on this machine",
    "owner": "the project's name",
    "docs_url": "no links",
}

# Where the messages of each room stand on the page of errors; the first that fits.
ROOMS = (
    ("Flags and files", ("cli/commands.py", "cli/options.py", "output/", "commands/context.py")),
    ("Settings and keys", ("settings.py", "channels.py", "secret.py", "network.py")),
    ("dbt's project, manifest and results", ("project/artifacts.py", "project/selection.py", "project/build.py")),
    ("dbt Cloud", ("project/cloud.py", "warehouse/builds.py")),
    ("Which models are synced", ("commands/select.py",)),
    ("Tables and columns", ("delivery/prepare.py", "delivery/subscriptions.py", "delivery/events.py")),
    ("The warehouse", ("warehouse/",)),
    ("Pendo", ("pendo/client.py", "pendo/metadata.py", "pendo/records.py", "pendo/track.py", "pendo/advice.py")),
    ("Fields", ("delivery/fields.py", "commands/fields.py", "pendo/fields.py")),
    ("Segments", ("delivery/segments.py", "delivery/members.py", "pendo/segments.py", "commands/verify_segments.py")),
    ("A sync", ("delivery/",)),
    ("The sandbox", ("cli/sandbox.py", "sandbox/")),
    ("Other commands", ("commands/", "history/", "pendo/")),
    ("Mistakes in a mapping", ("mapping/",)),
)
# The classes of errors whose first two arguments are a message and a hint.
SHOWN = {
    *(
        "DbtPendoError",
        "ConfigError",
        "MappingError",
        "PendoError",
        "DbtCloudError",
        "WarehouseError",
        "ConnectionLostError",
    ),
    *(
        "LockedError",
        "LockLostError",
        "GuardError",
        "ForeignPendoError",
        "InterruptedRunError",
        "EverythingRefusedError",
    ),
    *("JournalError", "KeyRefusedError", "LedgerKeptError", "FieldsRefusedError", "UnreadableError", "BusyError"),
    *("UnavailableError", "LargeError", "readable_errors"),
    # A class that the caller chose.
    "error",
}
# What holds the reason why a field cannot be written: a variable, or what a function returns.
NOTES = {"note", "misfit", "_age_fault"}

# What makes a problem of a message, and which of its arguments that is.
PROBLEMS = {"Problem": 3, "_about_table": 1, "about": 1}
# What stands below the messages of a room, and below each without a hint.
INTRODUCTIONS = {
    "Mistakes in a mapping": "Such a message begins with the file, the line, the sync and the key. Correct it there, "
    "run `dbt parse`, and `dbt-pendo check` again. [Mapping](mapping.md) lists all keys with their values; `dbt-pendo "
    "init` prints a mapping to start from."
}
ADVICE = {"Mistakes in a mapping": "Correct the key that the message names: [Mapping](mapping.md)."}


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Returns a table in Markdown."""

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(heads), line(("---",) * len(heads)), *map(line, rows)])


def code(*words: Any) -> str:
    """Returns words as code, as YAML writes them."""
    spelled = (str(word).lower() if isinstance(word, bool) else "null" if word is None else word for word in words)
    return ", ".join(f"`{name}`" for name in dict.fromkeys(spelled))


def mapping(name: str) -> str:
    """Returns the keys of an object, or of the long form of a field, from the JSON Schema."""
    defined = json_schema()["$defs"]
    if name == "long form":
        long_form = defined["visitor"]["properties"]["fields"]["additionalProperties"]["properties"]
        rows = [(f"`{key}`", value_of(one), one["description"]) for key, one in long_form.items()]
        return table(("key", "value", "meaning"), rows)
    schema = defined[name]
    rows = []
    for key, one in schema["properties"].items():
        if key != "object" and len(one.get("enum", ())) == 1:
            # It may be written, and says nothing.
            continue
        default = "required" if key in schema["required"] else code(one["default"]) if "default" in one else ""
        kind = KEYS_OF[name][key].kind  # type: ignore[index]
        is_text = isinstance(kind, RowValue) and kind.plain == "value"
        rows.append((f"`{key}`", "a text, or `{column: …}`" if is_text else value_of(one), default, one["description"]))
    return table(("key", "value", "default", "meaning"), [tuple(map(_bare, row)) for row in rows])


def _bare(text: str) -> str:
    return re.sub(r"(?<!`)(\{[a-z]+: …[^}]*\})(?!`)", r"`\1`", text)


def value_of(schema: Mapping[str, Any]) -> str:
    """Returns in words what a JSON Schema takes."""
    if "anyOf" in schema:
        return f"{value_of(schema['anyOf'][0])}, or `{{parent: …, child: …}}`"
    if "enum" in schema:
        return code(*schema["enum"])
    properties = schema.get("properties", {})
    if "column" in properties:
        return "a column, or `{value: …}`" if "value" in properties else "a column"
    if schema["type"] == "object":
        return ", ".join(f"`{name}`" for name in properties) if len(properties) > 2 else "names and columns"
    if "integer" in schema["type"] and "%" in schema.get("pattern", ""):
        return "a count, or `20%`"
    if schema["type"] == "integer":
        return f"{schema['minimum']:,} to {schema['maximum']:,}"
    if "days" in schema.get("pattern", ""):
        return "`36 hours`, `7 days`, …, or `none`"
    if schema.get("description") == "A column of the model.":
        return "a column"
    if "array" in schema["type"]:
        return "a text, a number, `true`, `false`, `null`, or a list"
    pattern = schema.get("pattern", "")
    return {"^[A-Za-z0-9_-]+$": "letters, digits, `_`, `-`", "^[A-Za-z0-9_]+$": "letters, digits, `_`"}.get(
        pattern, "a text"
    )


def commands_table() -> str:
    """Returns each command with its short help."""
    return table(("command", "does"), [(f"`dbt-pendo {name}`", help_) for name, help_ in COMMANDS.items()])


def commands() -> str:
    """Returns a section for each command: its usage, help, arguments and own flags."""
    context = click.Context(cli, info_name="dbt-pendo")
    shared = {one.name for group in (PROFILE, SELECTION, RUN_FLAGS, OUTPUT) for one in group}
    parts = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        own, groups = [], []
        for param in command.params:
            if isinstance(param, click.Option) and param.name not in shared:
                own.append(flag(param, inner))
        names = {param.name for param in command.params}
        for what, anchor, group in (
            ("dbt's project and profile", "dbts-project-and-profile", PROFILE),
            ("selection", "selection", SELECTION),
            ("settings", "settings-as-flags", RUN_FLAGS),
            ("output", "output", OUTPUT),
        ):
            if len(names & {one.name for one in group}) > 1:
                groups.append(f"[{what}](#{anchor})")
        help_ = re.sub(r"\s*\n\s*(?!\n)", " ", (command.help or "").strip().replace("\n\n", "¶")).replace("¶", "\n\n")
        usage = command.collect_usage_pieces(inner)
        parts.append(f"## {name}\n\n{help_}\n\n```text\ndbt-pendo {' '.join([name, *usage])}\n```")
        if own:
            parts.append(table(("flag", "meaning"), own))
        if groups:
            parts.append(f"Also the flags of {' · '.join(groups)}.")
        parts.append("```sh\n" + "\n".join(f"dbt-pendo {example}" for example in EXAMPLES[name]) + "\n```")
        ends = [f"{status}: {what}" for status, what in statuses_of(name).items()]
        parts.append(f"Exit status {'; '.join(ends)}.")
    return "\n\n".join(parts)


def flags(group: str) -> str:
    """Returns the flags that commands share."""
    groups = {"project": PROFILE, "selection": SELECTION, "settings": RUN_FLAGS, "output": OUTPUT}
    context = click.Context(cli)
    return table(("flag", "meaning"), [flag(one, context) for one in groups[group]])


def flag(one: click.Option, context: click.Context) -> tuple[str, str]:
    """Returns a flag and its help, as ``--help`` shows them."""
    record = one.get_help_record(context)
    assert record is not None
    names, help_ = record
    help_ = re.sub(r"  \[(?:env var: ([A-Z_]+)(; )?)?(default: [^\]]+)?\]$", _noted, help_)
    return f"`{names.replace(' / ', '`, `')}`".replace(", -", "`, `-"), help_


def _noted(found: re.Match[str]) -> str:
    return f" ({code(found[1]) if found[1] else ''}{found[2] or ''}{found[3] or ''})"


def settings() -> str:
    """Returns the settings with variable, default and meaning."""
    rows = []
    defaults = {name: getattr(Settings(), name) for name in SETTINGS}
    for name, setting in SETTINGS.items():
        value = defaults[name]
        default = DEFAULTS.get(name) or ("none" if value in (None, ()) else code(_short(value)))
        rows.append((f"`{name}`", f"`{setting.variable}`", default, setting.help))
    return table(("setting", "environment", "default", "meaning"), rows)


def regions() -> str:
    """Returns the hosts of Pendo's regions."""
    hosts = [(f"`{name}`", *(f"`{url.removeprefix('https://')}`" for url in urls)) for name, urls in REGIONS.items()]
    return table(("region", "API", "track events"), hosts)


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value == int(value) else value


def recipe(path: Path) -> str:
    """Returns a file as a block of code."""
    language = LANGUAGES.get(path.suffix, "dockerfile")
    return f"```{language}\n{path.read_text(encoding='utf-8').rstrip()}\n```"


def found_errors() -> dict[str, dict[str, list[str]]]:
    """Returns the messages of errors with what to do about each, as the source has them, by the page's sections.

    A message that stands in several places is in the first section of them, for the tool knows it by its words alone.
    """
    found: dict[str, dict[str, list[str]]] = {room: {} for room, _ in ROOMS}
    for path in sorted((ROOT / "dbt_pendo").rglob("*.py")):
        place = path.relative_to(ROOT / "dbt_pendo").as_posix()
        room = next((name for name, places in ROOMS if place.startswith(places)), None)
        if place == "sandbox/faults.py":  # for tests
            continue
        for message, hint in messages(ast.parse(path.read_text(encoding="utf-8"))):
            assert room is not None, place
            found[room].setdefault(message, []).append(hint)
        for room, message in reasons(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(room, {}).setdefault(message, [])
    kept: dict[str, list[str]] = {}
    sections: dict[str, dict[str, list[str]]] = {}
    for room, texts in found.items():
        new = {message: list[str]() for message in texts if message not in kept}
        kept |= new
        for message, hints in texts.items():
            kept[message] += [hint for hint in hints if hint and hint not in kept[message]]
        if new:
            sections[room] = dict(sorted(new.items(), key=lambda one: one[0].strip("… `").lower()))
    return sections


def errors() -> str:
    """Returns a section for each message of an error."""
    parts = []
    for room, texts in found_errors().items():
        parts += filter(None, [f"## {room}", INTRODUCTIONS.get(room)])
        for message, hints in texts.items():
            parts += [f"### {escaped(message)}", *(map(escaped, hints) if hints else filter(None, [ADVICE.get(room)]))]
    return "\n\n".join(parts)


def links() -> str:
    """Returns what the tool finds the place of an error by: the page's address, and the anchor of each message."""
    package = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (site,) = re.findall(r'^Documentation = "(.+)"$', package, re.MULTILINE)
    page = renewed(DOCS / "reference" / "errors.md")
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    at = dict(zip(headings, anchors(headings), strict=True))
    places = {message: at[escaped(message)] for texts in found_errors().values() for message in texts}
    return json.dumps({"page": f"{site}/reference/errors/", "anchors": places}, ensure_ascii=False, indent=1) + "\n"


def anchors(headings: list[str]) -> list[str]:
    """Returns the anchors of a page's headings, as the site makes them (Markdown's extension ``toc``)."""
    found: list[str] = []
    for heading in headings:
        plain = unicodedata.normalize("NFKD", heading.replace("\\", "")).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        count = sum(re.sub(r"_\d+$", "", one) == slug for one in found)
        found.append(f"{slug}_{count}" if count else slug)
    return found


def escaped(text: str) -> str:
    """Returns a message as Markdown."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(one if one.startswith("`") else re.sub(r"([*_<>\[\]#|{}])", r"\\\1", one) for one in parts)


def messages(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields the message and the hint of each error that a module raises."""
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        local = dict(constants)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                local[node.targets[0].id] = node.value
        for node in ast.walk(function):
            if not (isinstance(node, ast.Call) and node.args and is_error(node.func)):
                continue
            if is_named(node.func, {"readable_errors"}):
                # dbt's or a driver's own words follow.
                told, hint = [f"{one}: …" for one in wordings(node.args[1], local)], ""
            elif is_named(node.func, {"Problem"}):
                told, hint = wordings(node, local), ""
            else:
                told = wordings(node.args[0], local)
                hint = words(node.args[1], local) if len(node.args) > 1 else ""
            for message in told:
                if len(re.sub(r"[^A-Za-z]", "", message)) > 6:
                    yield message, "" if hint == "…" else hint
        for node in ast.walk(function):
            is_note = isinstance(node, ast.Assign) and is_named(node.targets[0], NOTES)
            is_note = is_note or (isinstance(node, ast.Return) and function.name in NOTES)
            if is_note and isinstance(node.value, ast.JoinedStr) and len(text := words(node.value, local)) > 20:
                yield text, ""


def wordings(node: ast.expr, named: Mapping[str, ast.expr]) -> list[str]:
    """Returns a message in each of its wordings, of which conditions choose one; without where it is found."""
    if isinstance(node, ast.IfExp):
        return [*wordings(node.body, named), *wordings(node.orelse, named)]
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(chosen := named.get(one.id), ast.IfExp):
            choices = ({**named, one.id: branch} for branch in (chosen.body, chosen.orelse))
            return [text for choice in choices for text in wordings(node, choice)]
    return [" ".join(re.sub(r"^(…: ?)+", "", words(node, named)).split())]


def is_named(node: ast.expr, names: Collection[str]) -> bool:
    """Returns whether it is a variable or a function of one of some names."""
    return isinstance(node, ast.Name) and node.id in names


def reasons(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields the reasons for which a sync is skipped or blocked, and a row is invalid: section and message."""
    # An f-string is a text of its own, and holds others.
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {part for one in whole for part in ast.walk(one)} - set(whole)
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        local = {
            node.targets[0].id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(function):
            section = text = ""
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                if node.func.id == "InvalidValue":
                    section, text = "Why a row is invalid", words(node.args[0], {})
                elif node.func.id == "Verdict" and ast.unparse(node.args[0]) == "False":
                    section, text = "Why a sync is skipped", words(node.args[1], local)
            elif isinstance(node, ast.JoinedStr | ast.Constant) and node not in inside:
                section, text = "Why a sync is blocked", words(node, {})
                text = text if text.startswith("blocked: ") else ""
            if len(re.sub(r"[^A-Za-z]", "", text)) > (5 if "…" in text else 4):
                yield section, text


def statuses() -> str:
    """Returns what the statuses of Pendo's answers mean, by the advice that the messages give."""
    rows = []
    for status in sorted({*advice._RETRIED, *advice._REFUSALS, *advice._REFUSED}):
        told = advice._RETRIED.get(status) or advice._REFUSALS.get(status) or advice._REFUSED.get(status) or ""
        told = told.strip().replace("{key}", "the variable of the key").replace("{kind}", advice.INTEGRATION_KEY)
        kind = "retried" if status in advice._RETRIED else "ends the sync" if status in advice._REFUSALS else "of rows"
        rows.append((str(status), kind, told))
    return table(("status", "is", "what the message says"), rows)


def is_error(called: ast.expr) -> bool:
    """Returns whether what is called takes a message for the user, and perhaps a hint."""
    if isinstance(called, ast.Attribute):
        # Of a mistake in a mapping.
        return called.attr == "wrong"
    if isinstance(called, ast.IfExp):
        return is_error(called.body)
    return is_named(called, {*SHOWN, "Problem"})


def words(node: ast.expr, named: Mapping[str, ast.expr], depth: int = 0) -> str:
    """Returns a text of the source, with … for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return re.sub(r"(… ?)+…", "…", "".join(words(one, named, depth) for one in node.values))
    if isinstance(node, ast.FormattedValue):
        if not isinstance(node.value, ast.Name):
            return "…"
        value = named.get(node.value.id)
        is_empty = isinstance(value, ast.Constant) and value.value == ""
        return "" if is_empty else words(node.value, named, depth) or "…"
    if isinstance(node, ast.Name) and node.id in named and depth < 2:
        return words(named[node.id], named, depth + 1) or "…"
    if isinstance(node, ast.List) and node.elts:
        return words(node.elts[-1], named, depth)
    if isinstance(node, ast.ListComp):
        return words(node.elt, named, depth)
    if isinstance(node, ast.IfExp):
        return words(node.body, named, depth)
    if isinstance(node, ast.Starred):
        return words(node.value, named, depth)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PROBLEMS:
        given = [one for arg in node.args for one in (arg.value.elts if isinstance(arg, ast.Starred) else [arg])]
        return words(given[PROBLEMS[node.func.id]], named, depth)
    if isinstance(node, ast.Tuple):
        return max((words(element, named, depth) for element in node.elts), key=len, default="…")
    return "…"


def generated(name: str, page: Path) -> str:
    """Returns what stands under a name."""
    word, _, rest = name.partition(" ")
    makers: dict[str, Callable[[], str]] = {
        "mapping": lambda: mapping(rest),
        "commands": commands,
        "commands-table": commands_table,
        "flags": lambda: flags(rest),
        "settings": settings,
        "regions": regions,
        "errors": errors,
        "statuses": statuses,
        "file": lambda: recipe(page.parent / rest),
    }
    return makers[word]()


def renewed(page: Path) -> str:
    """Returns a page with what is generated in it as it has to be now."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- generated {found['name']} -->\n\n{generated(found['name'], page)}\n\n<!-- end -->"

    return MARKED.sub(fill, page.read_text(encoding="utf-8"))


def pages() -> list[Path]:
    """The pages in which something is generated."""
    every = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [page for page in every if MARKED.search(page.read_text(encoding="utf-8"))]


def main() -> None:
    """Writes the pages, or names those that are old."""
    importlib.import_module("dbt_pendo.cli.commands")
    made = {page: renewed(page) for page in pages()} | {LINKS: links()}
    old = {path: text for path, text in made.items() if text != path.read_text(encoding="utf-8")}
    if "--check" in sys.argv:
        sys.exit("\n".join(f"{path.relative_to(ROOT)} is old: run docs/generate.py" for path in old) or 0)
    for path, text in old.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
