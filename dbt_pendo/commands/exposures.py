"""Writes dbt exposures of all syncs, so that dbt's lineage shows Pendo."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dbt_pendo.commands.context import Invocation, SyncFinding, write_text
from dbt_pendo.commands.select import nothing_annotated, positions_in, read_specs
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.describe import description, title
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.project.artifacts import Manifest, read_manifest
from dbt_pendo.settings import REGIONS, Settings
from dbt_pendo.wording import host_of, is_loopback

FILE_NAME = "pendo_exposures.yml"
_MARK = "# Written by `dbt-pendo exposures`"
_HEADER = f"""\
{_MARK}, anew each time: put exposures of your own into another file.
# If dbt misses a model that is named here, delete this file, run `dbt parse`, then `dbt-pendo exposures`.
"""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The exposure of one sync."""

    spec: SyncSpec
    name: str
    # What dbt's YAML says of it.
    properties: Mapping[str, Any]
    # Why it is not in the file; None if it is.
    left_out: str | None

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry under ``results``."""
        status = "skipped" if self.left_out else "success"
        return {**SyncFinding(self.spec).to_dict(), "status": status, "message": self.left_out, "exposure": self.name}


@dataclass(frozen=True, slots=True)
class Lineage:
    """The file of exposures."""

    # Relative to the project, if the file is inside.
    place: str
    exposures: Sequence[Exposure]
    # Whether the file was missing or different.
    outdated: bool


def write_exposures(invocation: Invocation, output: Path | None, check: bool) -> Lineage:
    """Brings the file of exposures up to date with the manifest.

    Args:
        invocation: The project.
        output: The file; None for the default one.
        check: Only look whether it is up to date.

    Raises:
        ConfigError: If there is no usable manifest, nothing is annotated, a mapping is wrong, the file was not written
            by us, or another file has an exposure of the same name.
    """
    project_dir, file = invocation.project_dir, output or invocation.models_path / FILE_NAME
    manifest = read_manifest(invocation.target_path)
    place = str(file.relative_to(project_dir) if file.is_relative_to(project_dir) else file)
    before = _read(file, place)
    if not manifest.models and before is None:
        raise nothing_annotated(manifest)
    exposures = _exposures(manifest, invocation)
    written = [one for one in exposures if one.left_out is None]
    for one in written:
        elsewhere = manifest.exposures.get(one.name)
        if elsewhere is not None and (project_dir / elsewhere).resolve() != file.resolve():
            raise ConfigError(
                f"{elsewhere} has an exposure {one.name} already, and dbt takes one of a name.",
                "Rename or remove it there, then run `dbt parse`.",
            )
    document = {"exposures": [one.properties for one in written]}
    text = _HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    if text != before and not check:
        write_text(file, text)
    return Lineage(place, exposures, text != before)


def _exposures(manifest: Manifest, invocation: Invocation) -> list[Exposure]:
    """Returns the exposure of each enabled sync, ordered by name, so that other changes do not move it in the file."""
    models = {model.unique_id: model for model in manifest.models}
    specs = read_specs(manifest.models, positions_in(invocation.project_dir, manifest))
    exposures = [
        _exposure(models[spec.unique_id], spec, manifest, invocation.settings) for spec in specs if spec.enabled
    ]
    exposures.sort(key=lambda one: one.name)
    for one, other in itertools.pairwise(exposures):
        if one.name == other.name:
            raise ConfigError(
                f"{one.spec.file}: {one.spec.name} and {other.spec.file}: {other.spec.name} would both be the exposure "
                f"{one.name}.",
                "Give one of them another `name`.",
            )
    return exposures


def _exposure(model: Model, spec: SyncSpec, manifest: Manifest, settings: Settings) -> Exposure:
    name = "pendo_" + re.sub(r"\W", "_", spec.name.replace(".", "__")).removeprefix("pendo_")
    properties = {
        "name": name,
        "label": _escaped(title(spec)),
        "type": "application",
        # A sandbox on this machine is no place that others can look at.
        "url": _escaped(REGIONS[settings.region][0] if is_loopback(settings.api_url) else host_of(settings.api_url)),
        "description": _escaped(description(spec)),
        "depends_on": [_ref(model, manifest.project)],
        "owner": {key: _escaped(text) for key, text in _owner(model, manifest, settings).items()},
    }
    private = "dbt lets nothing outside its group refer to a private model" if model.is_private else None
    return Exposure(spec, name, properties, private)


def _ref(model: Model, project: str) -> str:
    """Returns the call of dbt's ``ref`` that means a model."""
    arguments = [repr(model.name)] if model.package == project else [repr(model.package), repr(model.name)]
    if model.version is not None:
        arguments.append(f"v={model.version!r}")
    return f"ref({', '.join(arguments)})"


def _owner(model: Model, manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Returns the owner of the model's group, else the one of the settings, else the project: dbt needs one."""
    of_group = {key: text for key in ("name", "email") if isinstance(text := model.owner.get(key), str) and text}
    if of_group:
        return of_group
    owner = (settings.owner or "").strip()
    if both := re.fullmatch(r"([^<>]*\S)\s*<([^<>\s]+@[^<>\s]+)>", owner):
        return {"name": both[1], "email": both[2]}
    if re.fullmatch(r"\S+@\S+", owner):
        return {"email": owner}
    return {"name": owner or manifest.project}


def _escaped(text: str) -> str:
    """Returns a text that dbt's Jinja renders as it is."""
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


def _read(file: Path, place: str) -> str | None:
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


class _Dumper(yaml.SafeDumper):
    """Writes YAML as people write it for dbt, which PyYAML cannot: lists indented, long texts as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)
