"""Chooses the syncs of a command, and judges which of them may run after what dbt did."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, MappingError, Model, Problem, Relation, SyncSpec
from dbt_pendo.project.artifacts import (
    BUILT,
    LastRun,
    Manifest,
    as_mapping,
    as_texts,
    read_current_rows,
    read_last_run,
    read_manifest,
    read_relations,
)
from dbt_pendo.project.positions import Positions
from dbt_pendo.project.selection import select_nodes
from dbt_pendo.warehouse.builds import BUILDS_TABLE, Build, read_builds
from dbt_pendo.warehouse.cache import compile_lazily
from dbt_pendo.warehouse.session import Session
from dbt_pendo.wording import listing, number


@dataclass(frozen=True, slots=True)
class Selection:
    """Which models to sync: dbt's own flags, and what a model must have passed apart from a build that did not fail."""

    select: Sequence[str] = ()
    exclude: Sequence[str] = ()
    selector: str | None = None
    # The folder of another manifest, and whether tables that dbt did not build are where it has them.
    state: Path | None = None
    defer: bool = False
    defer_state: Path | None = None
    # The last dbt command built it.
    only_built: bool = False
    # No test of it, or of what it is made of, failed there.
    require_tests: bool = False
    # Tags of columns that are personal data.
    refuse_tags: Sequence[str] = ()
    # Whether a flag asks for one of the two: then it is an error if nothing is known about dbt's last command.
    needs_evidence: bool = False
    # dbt has just applied the selection: what it did not run is not selected.
    of_last_run: bool = False
    # Mappings with a problem are looked into as far as they can be read; else they end the command.
    with_flawed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sync may run."""

    may_run: bool
    # Why or why not, as half a sentence.
    reason: str
    # Whether the user asked to leave it out; if not, leaving it out is worth a warning.
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """The syncs of a command."""

    # Where they were found, in the words of a message.
    origin: str
    # The dbt command that built their models.
    invocation_id: str
    # Each with its model, parents before children.
    syncs: Sequence[tuple[Model, SyncSpec]]
    last_run: LastRun
    # By the model's id.
    verdicts: Mapping[str, Verdict]
    # The published builds they were read from; empty if they come from a manifest.
    builds: Sequence[Build] = ()
    # The adapter that dbt has built with; empty if it is not known.
    adapter_type: str = ""
    # What dbt says of criteria of the selection that match no node, and what looks like a misspelt `meta.pendo`; in
    # sentences without their full stop.
    unmatched: Sequence[str] = ()
    # What is wrong in the mappings of ``syncs``, and in those that cannot be read.
    problems: Sequence[Problem] = ()
    # The mappings of the whole project, selected or not; empty where nothing tells them.
    annotations: Sequence[Annotation] = ()
    positions: Positions = field(default_factory=Positions)

    @property
    def names(self) -> list[str]:
        """The names of all syncs, those whose mappings cannot be read among them."""
        return list(dict.fromkeys([*(spec.name for _, spec in self.syncs), *(one.sync for one in self.problems)]))


def select_syncs(project_dir: Path, target_path: Path, selection: Selection) -> Selected:
    """Returns the syncs of the selected models in dbt's manifest.

    Raises:
        ConfigError: If there is no usable manifest, nothing is annotated, the selection is not understood, a mapping
            of a selected model is wrong, or nothing is known of what dbt did that the selection asks for.
    """
    manifest = read_manifest(target_path)
    if not manifest.models:
        raise nothing_annotated(manifest)
    chosen, unmatched = {model.unique_id for model in manifest.models}, list[str]()
    if selection.select or selection.exclude or selection.selector:
        compile_lazily()
        chosen, unmatched = select_nodes(
            manifest.path, project_dir, selection.select, selection.exclude, selection.selector, selection.state
        )
    last_run = read_last_run(target_path, manifest)
    if selection.of_last_run:
        chosen &= last_run.statuses.keys()
    models = [model for model in manifest.models if model.unique_id in chosen]
    if selection.defer:
        models = _deferred(models, last_run, selection.defer_state or selection.state)
    positions = positions_in(project_dir, manifest)
    others = [model for model in manifest.models if model.unique_id not in chosen]
    syncs, problems = _pair(models, selection, positions, others)
    if selection.needs_evidence:
        _require_evidence(last_run, selection)
    verdicts = {model.unique_id: judge(model, last_run, selection) for model in models}
    return Selected(
        *(manifest.path.name, manifest.invocation_id, syncs, last_run, verdicts),
        adapter_type=manifest.adapter_type,
        unmatched=[*unmatched, *manifest.misspelt],
        problems=problems,
        annotations=[model.annotation for model in manifest.models],
        positions=positions,
    )


def select_published(session: Session, schema: str, selection: Selection) -> Selected:
    """Returns the syncs of the published builds that no run has taken yet.

    Args:
        session: The warehouse.
        schema: The schema of our tables.
        selection: Which models, by name, and what dbt must have done to them.

    Raises:
        ConfigError: If dbt has published nothing at all, the selection is more than names, or a mapping is wrong.
    """
    names, left_out = _model_names(selection.select), _model_names(selection.exclude)
    if selection.selector:
        raise ConfigError(f"--selector {selection.selector}: {_NO_GRAPH}", _NAMES_ONLY)
    builds = []
    for build in read_builds(session, schema):
        # A versioned model has a name with its version and one without.
        names_of_build = {build.model, *build.unique_id.split(".")[2:3]}
        if (not names or names & names_of_build) and not left_out & names_of_build:
            builds.append(build)
    published = [_published(build) for build in builds]
    syncs, _ = _pair([model for model, _ in published], selection, Positions())
    verdicts = {model.unique_id: judge(model, last_run, selection) for model, last_run in published}
    invocation_id = builds[-1].invocation_id if builds else ""
    return Selected(f"{schema}.{BUILDS_TABLE}", invocation_id, syncs, LastRun(), verdicts, builds)


def require_target(selected: Selected, session: Session) -> None:
    """Makes sure that dbt has built for the target whose ledgers are read.

    Raises:
        ConfigError: If dbt says that it has built for another one.
    """
    built = selected.last_run.target
    if built and built != session.target:
        raise ConfigError(
            f"dbt has built for the target {built}, and this is the target {session.target}: its ledger says nothing "
            "about those tables. Nothing was sent.",
            f"Give --target {built}, or run `dbt build --target {session.target}` first.",
        )


def target_doubts(selected: Selected, session: Session) -> list[str]:
    """Returns what speaks against the target being the one that dbt has built for, as sentences."""
    built_with, here = selected.adapter_type, session.adapter_type
    if built_with and built_with != here:
        return [f"dbt has built for {built_with}, and the profile's target {session.target} is for {here}."]
    ours = (session.database, session.schema)
    for model, _ in selected.syncs:
        # dbt puts a model without a schema of its own into the target's.
        placed = (model.relation.database, model.relation.schema) if model.is_placed_by_target else ours
        if any(there and our and there.lower() != our.lower() for there, our in zip(placed, ours, strict=True)):
            there, our = (".".join(filter(None, place)) for place in (placed, ours))
            return [f"dbt has built {model.name} in {there}, and the target {session.target} is {our}."]
    return []


def _deferred(models: Sequence[Model], last_run: LastRun, state: Path | None) -> list[Model]:
    """Returns models, those that dbt did not build with the place where another manifest has them."""
    if state is None:
        raise ConfigError("--defer needs --state.", "Name the folder of the manifest that dbt deferred to.")
    elsewhere = read_relations(state)
    return [
        model if model.unique_id in last_run.statuses else replace(model, deferred_to=elsewhere.get(model.unique_id))
        for model in models
    ]


def read_specs(models: Iterable[Model], positions: Positions) -> list[SyncSpec]:
    """Parses the mappings of models.

    Raises:
        MappingError: If some are wrong; it has every mistake.
    """
    specs, problems = parse_syncs(model.annotation for model in models)
    if problems:
        raise wrong_mappings(positions.located(problems))
    return specs


def positions_in(project_dir: Path, manifest: Manifest) -> Positions:
    """Returns where the mappings of a project are."""
    return Positions(project_dir, manifest.project, {model.unique_id: model for model in manifest.models})


def wrong_mappings(problems: Sequence[Problem]) -> MappingError:
    """Returns the error of mappings that cannot be used."""
    found = number(len(problems), "problem")
    return MappingError(
        problems, f"{found} in meta.pendo; nothing was sent. `dbt-pendo schema` prints what may stand there."
    )


def nothing_annotated(manifest: Manifest) -> ConfigError:
    """Returns the error of a project without a mapping."""
    return ConfigError(
        [f"No model in {manifest.path} carries meta.pendo.", *manifest.misspelt],
        "Map one under `config: {meta: {pendo: …}}` and run `dbt build` again; `dbt-pendo init` starts a mapping.",
    )


def _pair(
    models: Sequence[Model], selection: Selection, positions: Positions, others: Sequence[Model] = ()
) -> tuple[list[tuple[Model, SyncSpec]], list[Problem]]:
    """Returns the enabled syncs of models, each with its model, and what is wrong in the mappings.

    Args:
        models: The models.
        selection: How to read them.
        positions: Where their mappings are.
        others: Models that are not selected: their mistakes are not reported, but they may fill the same segment.

    Raises:
        MappingError: If a mapping is wrong, or two syncs fill one segment, and the selection is not ``with_flawed``.
    """
    by_id = {model.unique_id: model for model in models}
    annotations = [model.annotation for model in models]
    specs, problems = parse_syncs(annotations, selection.refuse_tags, selection.with_flawed)
    specs = [spec for spec in specs if spec.enabled]
    problems += _filled_twice(specs, parse_syncs(model.annotation for model in others)[0])
    problems = positions.located(problems)
    if problems and not selection.with_flawed:
        raise wrong_mappings(problems)
    return [(by_id[spec.unique_id], spec) for spec in specs], problems


def _filled_twice(specs: Iterable[SyncSpec], others: Iterable[SyncSpec]) -> Iterator[Problem]:
    """Yields the problem of each sync that fills the segment of another: each would remove the other's members."""
    filled: dict[str, SyncSpec] = {}
    mine = list(specs)
    for spec in (*(spec for spec in others if spec.enabled), *mine):
        if spec.segment is None:
            continue
        other = filled.setdefault(spec.segment, spec)
        if other is not spec and spec in mine:
            message = (
                f"{other.name} ({other.file}) and {spec.name} both fill the segment {spec.segment}. A segment holds "
                "one model's visitors: give one of them another name, or make one model of the two"
            )
            yield Problem(spec.file, spec.name, "segment", message, unique_id=spec.unique_id)


def judge(model: Model, last_run: LastRun, selection: Selection) -> Verdict:
    """Decides whether a model's syncs may run after dbt's last command, or the one that published the model."""
    command, statuses = f"`dbt {last_run.command}`", last_run.statuses
    if model.unique_id.startswith("snapshot.") and model.current_rows is None:
        older = "an older release of the dbt package published it, and did not say which rows of a snapshot are current"
        return Verdict(False, f"{older}: upgrade the package in packages.yml")
    if last_run.published_as_is:
        unknown = f"published by {command}, which does not say"
        if selection.only_built:
            return Verdict(False, f"{unknown} whether it was built (--only-built)", asked_for=True)
        if selection.needs_evidence:
            return Verdict(False, f"{unknown} what its tests said (--require-tests)")
        return Verdict(True, f"its table as it is, published by {command}")
    if last_run.unreliable_because:
        return Verdict(True, f"its table as it is: {last_run.unreliable_because}")
    status = statuses.get(model.unique_id)
    if status is not None and status not in BUILT:
        return Verdict(False, f"the last dbt run left the model in status {status!r}")
    if status is not None and last_run.partial:
        return Verdict(False, f"`dbt {last_run.command} {last_run.partial}` built it without all its rows")
    if status is None:
        for parent in sorted(model.ancestors):
            if statuses.get(parent, "success") not in BUILT:
                # The model's table may be whole, but it is older than the data that dbt just failed to build.
                left = f"{command} left {_name(parent)}, which it is made of, in status {statuses[parent]!r}"
                return Verdict(False, f"stale: {left}")
        if selection.only_built:
            return Verdict(False, f"the last {command} did not build it (--only-built)", asked_for=True)
        if model.deferred_to is None and last_run.deferred:
            why = "--defer with --state syncs it from where dbt has it"
            if selection.defer:
                why = "the manifest of --state does not have it"
            return Verdict(False, f"{command} deferred it; {why}")
    failed = _failed(model.tests, statuses)
    # A model that dbt built is downstream of no failed test: dbt would have skipped it.
    for whose, tests in (
        ("its tests", failed),
        ("the tests of what it is made of", [] if status else _failed(model.tests_above, statuses)),
    ):
        if tests and selection.require_tests:
            names = listing(map(_name, tests))
            return Verdict(False, f"{len(tests)} of {whose} failed: {names} (--no-require-tests syncs it)")
    ran = model.tests & statuses.keys()
    if failed:
        tested = f", {len(failed)} of {len(ran)} tests failed"
    else:
        # A test that warned has not passed.
        warned = sum(statuses[test] == "warn" for test in ran)
        passed = sum(statuses[test] in BUILT for test in ran) - warned
        tested = "".join(
            f", {number(count, 'test')} {kind}" for kind, count in (("passed", passed), ("warned", warned)) if count
        )
    return Verdict(True, f"{'built' if status else 'its table as it is, not built'} by {command}{tested}")


def _failed(tests: Collection[str], statuses: Mapping[str, str]) -> list[str]:
    """Returns the tests that failed, of those that ran."""
    return sorted(test for test in tests if statuses.get(test, "skipped") not in BUILT | {"skipped"})


def _require_evidence(last_run: LastRun, selection: Selection) -> None:
    """Refuses ``--only-built`` and ``--require-tests`` if nothing is known of what dbt did."""
    unknown = last_run.unreliable_because
    if selection.only_built and not unknown and not last_run.builds:
        unknown = f"the last dbt command was `dbt {last_run.command}`, which builds nothing"
    if unknown and (selection.only_built or selection.require_tests):
        flag = "--only-built" if selection.only_built else "--require-tests"
        raise ConfigError(f"{flag}: {unknown}.", "Run dbt-pendo right after `dbt build`, before other dbt commands.")


def _name(unique_id: str) -> str:
    """Returns what people call a node: the part that is the name in ``test.shop.unique_users_id.1f2e`` and the like."""
    parts = unique_id.split(".")
    at = {"test": slice(2, 3), "unit_test": slice(-1, None)}.get(parts[0], slice(2, None))
    return ".".join(parts[at]) or unique_id


_NO_GRAPH = "what was published does not say how models hang together."
_NAMES_ONLY = "With --published, name models alone: --select dim_users dim_accounts."


def _model_names(selected: Sequence[str]) -> set[str]:
    """Returns the names of models in a selection; a value may hold several, as dbt's may."""
    names = {name for value in selected for name in value.split()}
    for name in sorted(names):
        if not re.fullmatch(r"[\w-]+", name):
            raise ConfigError(f"--select or --exclude {name}: {_NO_GRAPH}", _NAMES_ONLY)
    return names


def _published(build: Build) -> tuple[Model, LastRun]:
    """Returns the model of a build, and the dbt command that published it."""
    mapping, columns, tests, snapshot, marks = (
        _decoded(text, build)
        for text in (build.mapping, build.column_mappings, build.tests, build.snapshot_config, build.marks)
    )
    model = Model(
        unique_id=build.unique_id,
        name=build.model,
        relation=Relation(build.relation_name, build.database_name, build.schema_name, build.identifier),
        materialized=build.materialized,
        annotation=Annotation(
            *(build.unique_id, build.model, build.file, mapping, as_mapping(columns)),
            {name.lower(): tuple(as_texts(found)) for name, found in as_mapping(marks).items()},
        ),
        tests=frozenset(as_mapping(tests)),
        current_rows=read_current_rows(as_mapping(snapshot)) if build.snapshot_config else None,
    )
    if build.status is None:
        return model, LastRun(build.command, published_as_is=True)
    return model, LastRun(build.command, {build.unique_id: build.status, **as_mapping(tests)}, build.partial or "")


def _decoded(text: str | None, build: Build) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        raise ConfigError(
            f"{BUILDS_TABLE}: {build.unique_id} in dbt invocation {build.invocation_id} holds what is no JSON: {text}",
            "Somebody has changed it; build the model again.",
        ) from None
