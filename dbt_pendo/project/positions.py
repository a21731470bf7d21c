"""Finds the line of a mapping's key in the project's YAML, which dbt's manifest does not keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import yaml

from dbt_pendo.mapping.spec import MappingError, Model, Problem

# A key of a YAML mapping, and its value.
_Pair: TypeAlias = tuple[yaml.Node, yaml.Node]

# Not every PyYAML has the one in C, which is ten times faster.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP = re.compile(r"(?:[\[{]\s*){500}")


@dataclass(frozen=True)
class Positions:
    """The YAML files of a project, each read when a problem in it is to be told.

    Attributes:
        project_dir: The folder of the dbt project.
        project: Its name.
        models: The models by their ids; problems of others get no line.
    """

    project_dir: Path = Path()
    project: str = ""
    models: Mapping[str, Model] = field(default_factory=dict)
    _files: dict[Path, yaml.Node | None] = field(default_factory=dict)

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """Returns problems with the lines of their keys, or of what is there instead of a key that is missing.

        A problem keeps no line if the file is not there or is no YAML, or the mapping is not in it: it may be in
        `dbt_project.yml` or in the model's SQL.
        """
        return [replace(one, line=self._line(one)) for one in problems]

    def located_error(self, error: MappingError) -> MappingError:
        """Returns an error whose problems have lines."""
        return MappingError(self.located(error.problems), error.hint)

    def _line(self, problem: Problem) -> int | None:
        model = self.models.get(problem.unique_id)
        if model is None or not problem.file.endswith((".yml", ".yaml")):
            return None
        root = self._read(self._folder(model) / problem.file)
        # `model.`, `seed.` or `snapshot.`, as the id begins.
        section = _get(root, f"{problem.unique_id.partition('.')[0]}s")
        entry = _named(section, "name", model.name)
        if entry is None:
            return None
        version = _named(_get(entry, "versions"), "v", str(model.version)) if model.version is not None else None
        return _find(problem, model.annotation.model, [one for one in (version, entry) if one is not None])

    def _folder(self, model: Model) -> Path:
        """Returns the folder that the names of a model's files begin in."""
        is_ours = model.package in ("", self.project)
        return self.project_dir if is_ours else self._packages / model.package

    @cached_property
    def _packages(self) -> Path:
        """The folder that `dbt deps` installs packages in."""
        path = _scalar(_get(self._read(self.project_dir / "dbt_project.yml"), "packages-install-path"))
        return self.project_dir / (path or "dbt_packages")

    def _read(self, path: Path) -> yaml.Node | None:
        if path not in self._files:
            try:
                text = path.read_text(encoding="utf-8") if path.is_file() else ""
                # The reader in C has no limit of its own, and ends the process.
                self._files[path] = None if _TOO_DEEP.search(text) else yaml.compose(text, Loader=_LOADER)
            except (OSError, ValueError, yaml.YAMLError, RecursionError):
                self._files[path] = None
        return self._files[path]


def _find(problem: Problem, model: str, entries: Sequence[yaml.Node]) -> int | None:
    """Returns the line of a problem in the entries of its model: that of a version, and what it inherits."""
    line = None
    if problem.key or not problem.column:
        for mapping in filter(None, map(_pendo, entries)):
            found, is_whole = _walk(mapping, problem, model)
            if is_whole:
                return found
            line = line or found
    # The column itself may carry the mapping.
    columns = (_named(_get(entry, "columns"), "name", problem.column) for entry in entries if problem.column)
    own = next(filter(None, (_pendo(column) for column in columns if column is not None)), None)
    return _line_of(own[0]) if own is not None else line


def _walk(mapping: _Pair, problem: Problem, model: str) -> tuple[int, bool]:
    """Returns the line of a problem's key, or of what it would stand in, and whether the key is there."""
    at, value = mapping
    path = problem.key
    if isinstance(value, yaml.SequenceNode):
        # A sync of a list is known by its name, or by its number if that is missing.
        index = re.match(r"\[(\d+)\](?:\.|$)", path)
        if index is not None and int(index[1]) < len(value.value):
            at = value = value.value[int(index[1])]
            path = path[index.end() :]
        elif (item := _named(value, "name", problem.sync.removeprefix(f"{model}."))) is not None:
            at = value = item
    while path:
        # A name of Pendo's may hold dots.
        pairs = [pair for pair in _pairs(value) if f"{path}.".startswith(f"{_scalar(pair[0])}.")]
        if not pairs:
            return _line_of(at), False
        at, value = max(pairs, key=lambda pair: len(_scalar(pair[0])))
        path = path[len(_scalar(at)) + 1 :]
    return _line_of(at), True


def _pendo(entry: yaml.Node) -> _Pair | None:
    """Returns `pendo` of a model or a column: that of `config.meta`, else that of the older `meta`."""
    for meta in (_get(_get(entry, "config"), "meta"), _get(entry, "meta")):
        for pair in _pairs(meta):
            if _scalar(pair[0]) == "pendo":
                return pair
    return None


def _named(node: yaml.Node | None, key: str, name: str) -> yaml.Node | None:
    """Returns the item of a sequence of mappings whose key has a value."""
    items = node.value if isinstance(node, yaml.SequenceNode) else []
    return next((item for item in items if _scalar(_get(item, key)) == name), None)


def _get(node: yaml.Node | None, key: str) -> yaml.Node | None:
    return next((value for at, value in _pairs(node) if _scalar(at) == key), None)


def _pairs(node: yaml.Node | None, within: tuple[yaml.Node, ...] = ()) -> Iterator[_Pair]:
    """Yields the keys of a mapping with their values, then those that it merges (`<<`)."""
    if not isinstance(node, yaml.MappingNode) or node in within:
        return
    merged: list[yaml.Node] = []
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        else:
            yield key, value
    for other in merged:
        yield from _pairs(other, (*within, node))


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
