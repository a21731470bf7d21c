"""The syncs as dbt exposures, in a file of our own, so that dbt's lineage ends where the rows do: in Pendo."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dbt_pendo.commands.select import nothing_annotated, read_specs
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.describe import description, title
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.project.manifest import Manifest, Model, read_manifest
from dbt_pendo.settings import Settings
from dbt_pendo.wording import host_of

FILE_NAME = "pendo_exposures.yml"
_PREFIX = "pendo_"
_MARK = "# Written by `dbt-pendo exposures`"
_HEADER = f"""\
{_MARK}, anew each time: put exposures of your own into another file.
# If dbt misses a model that is named here, delete this file, run `dbt parse`, then `dbt-pendo exposures`.
"""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One sync as dbt is told of it.

    Attributes:
        spec: The sync.
        properties: The exposure, as it stands in dbt's YAML.
        left_out: Why dbt cannot be told of it; None when it can.
    """

    spec: SyncSpec
    properties: Mapping[str, Any]
    left_out: str | None

    @property
    def name(self) -> str:
        """The exposure's name: letters, digits and underscores."""
        return str(self.properties["name"])


@dataclass(frozen=True, slots=True)
class Lineage:
    """The file of exposures.

    Attributes:
        place: Where it is, seen from the project if it is inside.
        exposures: The exposure of each sync, in the file's order.
        outdated: Whether the file was not there, or said something else.
    """

    place: str
    exposures: Sequence[Exposure]
    outdated: bool


def write_exposures(project_dir: Path, target_path: Path, file: Path, settings: Settings, check: bool) -> Lineage:
    """Brings the file of exposures up to date with the manifest.

    Args:
        project_dir: The dbt project.
        target_path: dbt's target folder.
        file: The file.
        settings: Where the Pendo app is, and who owns the exposures.
        check: Only look whether it is up to date.

    Raises:
        ConfigError: If there is no usable manifest, nothing is annotated, the file is somebody else's, or another one
            has an exposure of the same name.
        MappingError: If a mapping is wrong.
    """
    manifest = read_manifest(target_path)
    place = str(file.relative_to(project_dir) if file.is_relative_to(project_dir) else file)
    before = _read(file, place)
    if not manifest.models and before is None:
        raise nothing_annotated(manifest)
    exposures = make_exposures(manifest, settings)
    _refuse_taken_names(exposures, manifest, project_dir, file)
    text = as_yaml(exposures)
    if text != before and not check:
        _write(file, text, place)
    return Lineage(place, exposures, text != before)


def make_exposures(manifest: Manifest, settings: Settings) -> list[Exposure]:
    """Returns the exposure of each enabled sync, by name: in an order that no other change of the project changes.

    Raises:
        ConfigError: If two syncs would have the same.
        MappingError: If a mapping is wrong.
    """
    models = {model.unique_id: model for model in manifest.models}
    specs = [spec for spec in read_specs(manifest.models) if spec.enabled]
    exposures = sorted((_exposure(models[spec.unique_id], spec, manifest, settings) for spec in specs), key=_name)
    for one, other in itertools.pairwise(exposures):
        if one.name == other.name:
            raise ConfigError(
                f"{one.spec.file}: {one.spec.name} and {other.spec.file}: {other.spec.name} would both be the exposure "
                f"{one.name}.",
                "Give one of them another `name`.",
            )
    return exposures


def as_yaml(exposures: Iterable[Exposure]) -> str:
    """Returns the file that tells dbt of exposures."""
    document = {"exposures": [one.properties for one in exposures if one.left_out is None]}
    return _HEADER + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=float("inf")
    )


def _name(exposure: Exposure) -> str:
    return exposure.name


def _exposure(model: Model, spec: SyncSpec, manifest: Manifest, settings: Settings) -> Exposure:
    name = re.sub(r"\W", "_", spec.name.replace(".", "__"))
    properties = {
        "name": name if name.startswith(_PREFIX) else f"{_PREFIX}{name}",
        "label": _not_jinja(title(spec)),
        "type": "application",
        "url": _not_jinja(host_of(settings.api_url)),
        "description": _not_jinja(description(spec)),
        "depends_on": [_ref(model, manifest.project)],
        "owner": {key: _not_jinja(text) for key, text in _owner(model, manifest, settings).items()},
    }
    private = "dbt lets nothing outside its group refer to a private model" if model.is_private else None
    return Exposure(spec, properties, private)


def _ref(model: Model, project: str) -> str:
    """Returns the call that means a model in dbt's YAML."""
    arguments = [repr(model.name)] if model.package == project else [repr(model.package), repr(model.name)]
    if model.version is not None:
        arguments.append(f"v={model.version!r}")
    return f"ref({', '.join(arguments)})"


def _owner(model: Model, manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Returns the owner of the model's group, else the one that is set, else the project: dbt wants one."""
    of_group = {key: text for key in ("name", "email") if isinstance(text := model.owner.get(key), str) and text}
    if of_group:
        return of_group
    owner = (settings.owner or "").strip()
    if both := re.fullmatch(r"([^<>]*\S)\s*<([^<>\s]+@[^<>\s]+)>", owner):
        return {"name": both[1], "email": both[2]}
    if re.fullmatch(r"\S+@\S+", owner):
        return {"email": owner}
    return {"name": owner or manifest.project}


def _not_jinja(text: str) -> str:
    """Returns a text that is still the same when dbt has rendered it."""
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


def _refuse_taken_names(exposures: Iterable[Exposure], manifest: Manifest, project_dir: Path, file: Path) -> None:
    for one in exposures:
        elsewhere = manifest.exposures.get(one.name) if one.left_out is None else None
        if elsewhere is not None and (project_dir / elsewhere).resolve() != file.resolve():
            raise ConfigError(
                f"{elsewhere} has an exposure {one.name} already, and dbt takes one of a name.",
                "Rename or remove it there, then run `dbt parse`.",
            )


def _read(file: Path, place: str) -> str | None:
    """Returns what the file says; None if it is not there.

    Raises:
        ConfigError: If it is not ours, or cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{place} cannot be read: {error.strerror}.") from None
    if not text.startswith(_MARK):
        raise ConfigError(
            f"{place} was not written by dbt-pendo, and is left as it is.", "Name another file with --output."
        )
    return text


def _write(file: Path, text: str, place: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror}.") from None


class _Dumper(yaml.SafeDumper):
    """YAML as people write it for dbt: lists indented, texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
