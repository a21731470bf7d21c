"""From dbt's artifacts to the syncs of a run."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbt_pendo.engine.gates import Gates, Verdict, judge
from dbt_pendo.errors import ConfigError
from dbt_pendo.project.artifacts import Manifest, Model, read_manifest
from dbt_pendo.project.run_results import LastRun, read_last_run
from dbt_pendo.project.selection import select_nodes
from dbt_pendo.spec.annotation import Problem
from dbt_pendo.spec.parse import parse_syncs
from dbt_pendo.spec.sync import SyncSpec
from dbt_pendo.warehouse.builds import Build


class MappingError(ConfigError):
    """Mappings are wrong; carries every problem of every model."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(
            [str(problem) for problem in problems],
            f"{count} problem{'s' if count > 1 else ''} in meta.pendo; nothing was sent. `dbt-pendo schema` prints "
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
class Gathered:
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


def gather_syncs(project_dir: Path, target_path: Path, selection: Selection, gates: Gates) -> Gathered:
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
    return Gathered(
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
