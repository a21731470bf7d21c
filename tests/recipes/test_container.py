"""Each Dockerfile's instructions, carried out in a folder that stands for the image's root; then its entry point."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from recipe import ACCOUNTS, PASSWORD, RECIPES, REPOSITORY, VISITORS, Shop, blocks, copy_project, run


@dataclass
class Image:
    """A stage of the image."""

    # Stands for `/`. All stages use it, one after another, for programs know where they are.
    root: Path
    # The environment that the base image would bring, and what the Dockerfile has put into it or changed in it.
    base: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    user: str = "0"
    entry_point: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / str(self.folder / path).lstrip("/")

    def inside(self, text: str) -> str:
        """A text whose paths of the image are paths of this machine."""
        return re.sub(r"(?<![\w.])/(?=(opt|project|source|tmp)\b)", f"{self.root}/", text)

    def run(self, command: list[str], given: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command as a container of the image does."""
        environment = {**self.base, "HOME": str(self.root), **self.environment, **(given or {})}
        # `env` looks the command up on that environment's PATH.
        return run(["env", *command], self.at("."), environment)


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def build(
    dockerfile: Path, context: Path, ignored: list[str], root: Path, base: Mapping[str, str], **arguments: str
) -> Image:
    """Carries a Dockerfile out as ``docker build`` does, and returns its last stage.

    Args:
        dockerfile: The file.
        context: The folder of what it copies.
        ignored: The lines of `.dockerignore`.
        root: The folder to build in; it does not exist.
        base: The environment of the base image.
        arguments: The build arguments.
    """
    image = Image(root, base)
    stages: dict[str, Path] = {}
    name = ""
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            if root.exists():
                stages[name] = root.rename(root.with_name(f"stage_{name}"))
            image, name = Image(root, base), rest.partition(" AS ")[2]
            image.at("tmp").mkdir(parents=True)
        elif word == "ARG":
            argument, _, default = rest.partition("=")
            image.environment[argument] = arguments.get(argument, default)
        elif word == "ENV":
            for variable, value in (pair.split("=", 1) for pair in rest.split()):
                before = image.environment.get("PATH", base["PATH"])
                image.environment[variable] = image.inside(value).replace("$PATH", before)
        elif word == "WORKDIR":
            image.folder = Path(rest)
            image.at(".").mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            stage = re.match(r"--from=(\w+) ", rest)
            source, destination = rest[stage.end() if stage else 0 :].split()
            there = stages[stage[1]] / source.lstrip("/") if stage else context / source
            copy(there, image.at(destination), ignored=[] if stage else ignored)
        elif word == "RUN":
            ended = image.run(["/bin/sh", "-c", image.inside(rest)])
            assert ended.returncode == 0, ended.stdout
        elif word == "USER":
            image.user = rest
        elif word == "ENTRYPOINT":
            image.entry_point = json.loads(rest)
        else:
            assert word == "CMD", word
            image.command = json.loads(rest)
    for left in stages.values():
        shutil.rmtree(left)
    return image


def copy(source: Path, destination: Path, ignored: list[str]) -> None:
    def ignore(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if is_ignored(Path(folder, name).relative_to(source), ignored)]

    if source.is_dir():
        shutil.copytree(source, destination, symlinks=True, dirs_exist_ok=True, ignore=ignore)
    else:
        shutil.copy(source, destination)


def is_ignored(path: Path, patterns: list[str]) -> bool:
    """Whether `.dockerignore` leaves a file or folder out: the last pattern that it, or a folder above it, matches."""
    found = False
    for pattern in patterns:
        parts = re.split(r"(\*\*/|\*)", pattern.removeprefix("!"))
        regex = "".join({"**/": "(.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
        if any(re.fullmatch(regex, str(one)) for one in (path, *path.parents)):
            found = not pattern.startswith("!")
    return found


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def image(shop: Shop, wheel: Path, bare_machine: Mapping[str, str], tmp_path: Path) -> Image:
    """The image of the shop's project as it is on somebody's disk, with much that must not get in."""
    for name in (".git/config", ".venv/bin/python", "target/run_results.json", "logs/dbt.log", "shop.env", "x.duckdb"):
        (shop.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.folder / name).write_text("not for the image")
    (shop.folder / "wheels").mkdir()
    shutil.copy(wheel, shop.folder / "wheels")
    (shop.folder / "requirements.txt").write_text(f"dbt-duckdb\n./wheels/{wheel.name}\n")
    ignored = blocks("container.md", "text")[0].split()
    return build(RECIPES / "Dockerfile", shop.folder, ignored, tmp_path / "root", bare_machine)


def test_the_entry_point_builds_and_syncs(image, shop):
    holds = files(image.root)
    assert not [name for name in holds if (image.root / name).read_bytes() == b"not for the image"]
    assert image.user not in ("0", "root")
    # It would find where to put compiled code, as the user of an image does not.
    env_file = {**shop.places, "DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD, "PYTHONDONTWRITEBYTECODE": "1"}
    env_file["PENDO_INTEGRATION_KEY"] = shop.sandbox.integration_key
    ended = image.run([*image.entry_point, *image.command], env_file)
    assert ended.returncode == 0, ended.stdout
    assert shop.plans == (VISITORS, ACCOUNTS)

    # A user who may write to /tmp alone can do all that.
    assert {name: at for name, at in files(image.root).items() if not name.startswith("tmp/")} == holds
    assert {"tmp/target/pendo_results.json", "tmp/logs/dbt.log"} <= set(files(image.root))

    del env_file["PENDO_INTEGRATION_KEY"]
    ended = image.run([*image.entry_point, "sync"], env_file)
    assert ended.returncode == 2, ended.stdout
    assert os.path.commonpath([image.run(["which", "dbt-pendo"]).stdout, image.root]) == str(image.root)


def test_the_image_of_the_repository_runs_a_project_that_is_mounted(shop, bare_machine, tmp_path):
    ignored = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    # What builds the package is installed on this machine.
    base = {**bare_machine, "PIP_NO_BUILD_ISOLATION": "false"}
    image = build(REPOSITORY / "Dockerfile", REPOSITORY, ignored, tmp_path / "root", base, ADAPTER="duckdb")
    assert image.user not in ("0", "root")
    (at,) = image.root.glob("opt/venv/lib/*/site-packages/dbt_pendo-*.dist-info")
    assert "dbt_pendo/dbt_package/macros/publish.sql" in (at / "RECORD").read_text()
    holds = files(image.root)
    assert "Usage: dbt-pendo" in image.run([*image.entry_point, *image.command]).stdout

    # The mounts: the project, and the profile where dbt looks for it.
    copy_project(image.at("."))
    (image.root / "tmp" / ".dbt").mkdir()
    image.at("profiles.yml").rename(image.root / "tmp" / ".dbt" / "profiles.yml")
    env_file = {**shop.places, "DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD, "PYTHONDONTWRITEBYTECODE": "1"}
    env_file["PENDO_INTEGRATION_KEY"] = shop.sandbox.integration_key
    ended = image.run([*image.entry_point, "build"], env_file)
    assert ended.returncode == 0, ended.stdout
    assert shop.plans == (VISITORS, ACCOUNTS)
    written = {name for name, at in files(image.root).items() if holds.get(name) != at}
    assert {name for name in written if not name.startswith(("tmp/", "project/"))} == set()


def test_what_gets_into_the_build_of_the_image_is_what_a_wheel_is_built_from():
    ignored = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    kept = {path.name for path in REPOSITORY.iterdir() if not is_ignored(path.relative_to(REPOSITORY), ignored)}
    folders = {"dbt_pendo", "macros", "sample_project"}
    assert kept == {*folders, "dbt_project.yml", "pyproject.toml", "LICENSE", "README.md"}
    for path in ("dbt_pendo/cli/__pycache__", "sample_project/target", "sample_project/sample.duckdb"):
        assert is_ignored(Path(path), ignored)
