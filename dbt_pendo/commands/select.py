"""Chooses the syncs of a command, and holds back what dbt did not build."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Problem, SyncSpec
from dbt_pendo.project.manifest import Manifest, Model, as_mapping, read_current_rows, read_manifest
from dbt_pendo.project.run_results import BUILT, LastRun, read_last_run
from dbt_pendo.project.selection import select_nodes
from dbt_pendo.warehouse.builds import BUILDS_TABLE, Build, read_builds
from dbt_pendo.warehouse.session import Session
from dbt_pendo.wording import number


@dataclass(frozen=True, slots=True)
class Gates:
    """What has to be so for a model to be synced, beside that dbt did not fail to build it.

    Attributes:
        only_built: The last dbt command built it.
        require_tests: No test of it failed there.
    """

    only_built: bool = False
    require_tests: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sync may run.

    Attributes:
        may_run: Whether it may.
        reason: Why or why not, as half a sentence.
        asked_for: Whether the user wanted it left out; else that it is, is worth a warning.
    """

    may_run: bool
    reason: str
    asked_for: bool = False


def judge(model: Model, last_run: LastRun, gates: Gates) -> Verdict:
    """Says whether a model's syncs may run.

    Args:
        model: The model.
        last_run: What is known of dbt's last command.
        gates: What the user asks for.
    """
    if last_run.doubt:
        return Verdict(True, f"its table as it is: {last_run.doubt}")
    status = last_run.statuses.get(model.unique_id)
    if status is not None and status not in BUILT:
        return Verdict(False, f"the last dbt run left the model in status {status!r}")
    if status is not None and last_run.partial:
        return Verdict(False, f"`dbt {last_run.command} {last_run.partial}` built it without all its rows")
    if status is None and (parent := _unbuilt(sorted(model.ancestors), last_run)) is not None:
        # Its table may be whole, and is older than what dbt has just failed to bring up to date.
        return Verdict(
            False,
            f"stale: `dbt {last_run.command}` left {_name(parent)}, which it is made of, in status "
            f"{last_run.statuses[parent]!r}",
        )
    if status is None and gates.only_built:
        return Verdict(False, f"the last `dbt {last_run.command}` did not build it (--only-built)", asked_for=True)
    ran = [test for test in sorted(model.tests) if test in last_run.statuses]
    failed = [test for test in ran if last_run.statuses[test] not in BUILT | {"skipped"}]
    if failed and gates.require_tests:
        names = ", ".join(_name(test) for test in failed)
        return Verdict(False, f"{len(failed)} of its tests failed (--require-tests): {names}")
    built = "built" if status else "its table as it is, not built"
    return Verdict(True, f"{built} by `dbt {last_run.command}`{_tested(ran, failed, last_run)}")


def require_evidence(last_run: LastRun, gates: Gates) -> None:
    """Refuses gates that nothing can be said about: to open them unseen, or to sync nothing, would be a guess.

    Raises:
        ConfigError: If a gate asks for what is not known.
    """
    nothing_built = (
        "" if last_run.builds else f"the last dbt command was `dbt {last_run.command}`, which builds nothing"
    )
    for flag, asked, doubt in (
        ("--only-built", gates.only_built, last_run.doubt or nothing_built),
        ("--require-tests", gates.require_tests, last_run.doubt),
    ):
        if asked and doubt:
            raise ConfigError(f"{flag}: {doubt}.", "Run dbt-pendo right after `dbt build`, before other dbt commands.")


def _unbuilt(nodes: Iterable[str], last_run: LastRun) -> str | None:
    return next((node for node in nodes if last_run.statuses.get(node, "success") not in BUILT), None)


def _tested(ran: list[str], failed: list[str], last_run: LastRun) -> str:
    if failed:
        return f", {len(failed)} of {len(ran)} tests failed"
    passed = sum(last_run.statuses[test] in BUILT for test in ran)
    return f", {number(passed, 'test')} passed" if passed else ""


def _name(unique_id: str) -> str:
    """Returns what people call a node: the part that is the name in ``test.shop.unique_users_id.1f2e`` and the like."""
    parts = unique_id.split(".")
    at = {"test": slice(2, 3), "unit_test": slice(-1, None)}.get(parts[0], slice(2, None))
    return ".".join(parts[at]) or unique_id


class MappingError(ConfigError):
    """Mappings are wrong; carries every problem of every model."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(
            [str(problem) for problem in problems],
            f"{number(count, 'problem')} in meta.pendo; nothing was sent. `dbt-pendo schema` prints "
            "what may stand there.",
        )
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Selection:
    """dbt's own selection flags."""

    select: Sequence[str] = ()
    exclude: Sequence[str] = ()
    selector: str | None = None

    def __bool__(self) -> bool:
        return bool(self.select or self.exclude or self.selector)


@dataclass(frozen=True, slots=True)
class Selected:
    """The syncs a command is about.

    Attributes:
        origin: Where they were found, in the words of a message.
        invocation_id: The dbt invocation that built their models.
        syncs: Each with its model, parents before children.
        last_run: What is known of dbt's last command.
        verdicts: Whether each may run, by the model's id.
        builds: The published builds they were read from, for the run to take; none where they come from a manifest.
    """

    origin: str
    invocation_id: str
    syncs: Sequence[tuple[Model, SyncSpec]]
    last_run: LastRun
    verdicts: Mapping[str, Verdict]
    builds: Sequence[Build] = ()


def select_syncs(project_dir: Path, target_path: Path, selection: Selection, gates: Gates) -> Selected:
    """Reads the manifest, selects, and parses the mappings of the selected models.

    Args:
        project_dir: The dbt project.
        target_path: dbt's target folder.
        selection: Which models.
        gates: What dbt's last command must have done to them.

    Raises:
        ConfigError: If there is no usable manifest, nothing is annotated, or the selection is not understood.
        MappingError: If a mapping of a selected model is wrong.
    """
    manifest = read_manifest(target_path)
    if not manifest.models:
        raise nothing_annotated(manifest)
    models = list(manifest.models)
    if selection:
        selected = select_nodes(manifest.path, project_dir, selection.select, selection.exclude, selection.selector)
        models = [model for model in models if model.unique_id in selected]
    specs = read_specs(models)
    # Of those that are not selected as well, as far as they can be read: they are for other runs.
    all_specs, _ = parse_syncs(model.annotation for model in manifest.models)
    refuse_shared_segments({spec.name for spec in specs}, [spec for spec in all_specs if spec.enabled])
    last_run = read_last_run(target_path, manifest)
    by_id = {model.unique_id: model for model in models}
    return Selected(
        manifest.path.name,
        manifest.invocation_id,
        [(by_id[spec.unique_id], spec) for spec in specs if spec.enabled],
        last_run,
        {model.unique_id: judge(model, last_run, gates) for model in models},
    )


def read_specs(models: Iterable[Model]) -> list[SyncSpec]:
    """Parses the mappings of models.

    Raises:
        MappingError: If one is wrong.
    """
    specs, problems = parse_syncs(model.annotation for model in models)
    if problems:
        raise MappingError(problems)
    return specs


def nothing_annotated(manifest: Manifest) -> ConfigError:
    """Returns the error of a project without a mapping."""
    return ConfigError(
        f"No model in {manifest.path} carries meta.pendo.",
        "Map one under `config: {meta: {pendo: …}}` and run `dbt build` again; `dbt-pendo init` starts a mapping.",
    )


def refuse_shared_segments(selected: Container[str], specs: Sequence[SyncSpec]) -> None:
    """Refuses two syncs of one segment: each would take the other's members out.

    Args:
        selected: The names of the syncs of which one has to be among the two.
        specs: All syncs.

    Raises:
        ConfigError: If there are such syncs.
    """
    filled: dict[str, SyncSpec] = {}
    for spec in specs:
        if spec.segment is None or (other := filled.setdefault(spec.segment, spec)) is spec:
            continue
        if spec.name in selected or other.name in selected:
            raise ConfigError(
                f"{other.file}: {other.name} and {spec.file}: {spec.name} both fill the segment {spec.segment}.",
                "A segment holds one model's visitors: give one of them another name, or make one model of the two.",
            )


def select_published(session: Session, schema: str, selection: Selection, gates: Gates) -> Selected:
    """Reads what was published and not taken yet, and parses the mappings.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.
        selection: Which models, by name.
        gates: What dbt must have done to them.

    Raises:
        ConfigError: If dbt has published nothing at all, or the selection is more than names.
        MappingError: If a mapping is wrong.
    """
    names, left_out = _names(selection.select), _names(selection.exclude)
    if selection.selector:
        raise ConfigError(f"--selector {selection.selector}: {_NO_GRAPH}", _NAMES_ONLY)
    builds = [
        build
        for build in read_builds(session, schema)
        if (not names or names & _names_of(build)) and not left_out & _names_of(build)
    ]
    models = {build.unique_id: _model(build) for build in builds}
    specs = read_specs(models.values())
    refuse_shared_segments({spec.name for spec in specs}, [spec for spec in specs if spec.enabled])
    return Selected(
        f"{schema}.{BUILDS_TABLE}",
        builds[-1].invocation_id if builds else "",
        [(models[spec.unique_id], spec) for spec in specs if spec.enabled],
        LastRun(),
        {build.unique_id: _verdict(build, models[build.unique_id], gates) for build in builds},
        builds,
    )


_NO_GRAPH = "what was published does not say how models hang together."
_NAMES_ONLY = "With --published, name models alone: --select dim_users dim_accounts."


def _names(selected: Sequence[str]) -> set[str]:
    """Returns the models' names of a selection; dbt, too, takes several in one value."""
    names = {name for value in selected for name in value.split()}
    for name in sorted(names):
        if not re.fullmatch(r"[\w-]+", name):
            raise ConfigError(f"--select or --exclude {name}: {_NO_GRAPH}", _NAMES_ONLY)
    return names


def _names_of(build: Build) -> set[str]:
    """Returns what a model goes by: its name, and that with its version."""
    return {build.model, *build.unique_id.split(".")[2:3]}


def _model(build: Build) -> Model:
    mapping, columns, tests = (_decoded(text, build) for text in (build.mapping, build.column_mappings, build.tests))
    _, package, name = f"{build.unique_id}..".split(".")[:3]
    return Model(
        unique_id=build.unique_id,
        package=package,
        name=name,
        # Only what refers to a model in SQL or YAML has to know it.
        version=None,
        relation_name=build.relation_name,
        database=build.database,
        schema=build.schema,
        identifier=build.identifier,
        materialized=build.materialized,
        annotation=Annotation(build.unique_id, build.model, build.file, mapping, as_mapping(columns)),
        tests=frozenset(as_mapping(tests)),
        current_rows=read_current_rows(as_mapping(_decoded(build.snapshot, build))) if build.snapshot else None,
    )


def _decoded(text: str | None, build: Build) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        raise ConfigError(
            f"{BUILDS_TABLE}: {build.unique_id} in dbt invocation {build.invocation_id} holds what is no JSON: {text}",
            "Somebody has changed it; build the model again.",
        ) from None


def _verdict(build: Build, model: Model, gates: Gates) -> Verdict:
    if build.unique_id.startswith("snapshot.") and model.current_rows is None:
        older = "an older release of the dbt package published it, and did not say which rows of a snapshot are current"
        return Verdict(False, f"{older}: upgrade the package in packages.yml")
    if build.status is not None:
        statuses = {build.unique_id: build.status, **as_mapping(_decoded(build.tests, build))}
        return judge(model, LastRun(build.command, statuses, build.partial or ""), gates)
    unknown = f"published by `dbt {build.command}`, which does not say"
    if gates.only_built:
        return Verdict(False, f"{unknown} whether it was built (--only-built)", asked_for=True)
    if gates.require_tests:
        return Verdict(False, f"{unknown} what its tests said (--require-tests)")
    return Verdict(True, f"its table as it is, published by `dbt {build.command}`")
