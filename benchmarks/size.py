"""How large the code is, and how many files one sync runs through. Usage: ``python benchmarks/size.py``."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "dbt_pendo"
ROWS = 1_000
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


def code_lines(path: Path) -> int:
    """Returns how many lines of a file hold code: no blanks, no comments, no docstrings."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    lines = {
        line
        for token in tokens
        if token.type not in _NO_CODE and token.type != tokenize.ENDMARKER
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def physical_lines(paths: Iterable[Path]) -> int:
    """Returns how many lines some files have."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def files_of_a_sync(folder: Path) -> list[str]:
    """Returns the files of ours that run in one sync of a visitors model, the sandbox left out."""
    from visitors import FIELDS, build, environment

    from dbt_pendo.sandbox import Sandbox

    build(folder, ROWS)
    with Sandbox() as sandbox:
        for name, (_, kind) in FIELDS.items():
            sandbox.add_field("visitor", "custom", name, kind)
        sandbox.add_visitors([f"user-{i}" for i in range(ROWS)])
        told = subprocess.run(
            [sys.executable, __file__, "--trace"],
            env={**environment(folder, sandbox.url), "PENDO_INTEGRATION_KEY": sandbox.integration_key},
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return told.stdout.split()


def trace() -> None:
    """Runs `dbt-pendo sync` in this process, and prints the files of the package that ran a function."""
    seen: set[str] = set()
    ours = f"{PACKAGE}{os.sep}"

    def note(frame: object, event: str, _: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        # The bodies of modules and classes run when they are imported, and are no functions; nor are comprehensions.
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event == "call" and is_function and code.co_filename.startswith(ours):
            seen.add(code.co_filename)

    from dbt_pendo.cli import main

    sys.argv = ["dbt-pendo", "sync", "--quiet"]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert not status, f"the sync ended with {status}"
    sandbox = str(PACKAGE / "sandbox")
    print("\n".join(sorted(str(Path(name).relative_to(REPOSITORY)) for name in seen if not name.startswith(sandbox))))


def main() -> None:
    """Prints the sizes."""
    package = [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts]
    tests = list((REPOSITORY / "tests").rglob("*.py"))
    longest = max(package, key=lambda path: physical_lines([path]))
    print(f"{sum(map(code_lines, package)):>7,} code lines of dbt_pendo without the sandbox, in {len(package)} files")
    print(f"{physical_lines(tests):>7,} lines of tests")
    print(f"{physical_lines([longest]):>7,} lines in the longest file, {longest.relative_to(REPOSITORY)}")
    with tempfile.TemporaryDirectory() as folder:
        files = files_of_a_sync(Path(folder))
    print(f"{len(files):>7,} files run in one sync of visitors:")
    print("\n".join(f"        {name}" for name in files))


if __name__ == "__main__":
    trace() if "--trace" in sys.argv else main()
