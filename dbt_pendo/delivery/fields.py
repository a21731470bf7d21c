"""The mapped fields beside those of Pendo: which field a name means, and whether its column fits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import FIELD_NAME_RULE, field_name_spelling, is_field_name
from dbt_pendo.mapping.spec import Column, Field, FieldType, Group, SyncSpec
from dbt_pendo.pendo.metadata import CREATABLE_TYPES, Schema, SchemaField
from dbt_pendo.records.render import PendoField
from dbt_pendo.warehouse.plan import ModelTable
from dbt_pendo.wording import did_you_mean

# The words adapters have for types, and the kind of value such a column holds. The first that matches counts.
_DTYPES: Sequence[tuple[str, str]] = (
    (r"\[\]|^array|^list|^super", "list"),
    (r"struct|^record|^object|^map|json|variant", "nested"),
    (r"^bool", "boolean"),
    (r"^(tiny|small|medium|big|huge|u|byte)*int(eger|\d+)?\b|^(big)?serial|^long$|^short$", "integer"),
    (r"^(numeric|decimal|number|bignumeric)\(\d+(, *0)?\)|^fixed\(\d+, *0\)", "integer"),
    (r"^(numeric|decimal|number|bignumeric|dec)|^(float|double|real)", "float"),
    (r"^(date|timestamp)", "time"),
    (r"^(bytes|binary|varbinary|blob|bytea)", "bytes"),
)
# By the kind of a column: the types that its values can never become, in any row.
_UNFIT: Mapping[str | None, Collection[FieldType]] = {
    "boolean": ("integer", "float", "time"),
    "time": ("boolean", "integer", "float"),
    "list": ("string", "boolean", "integer", "float", "time"),
    "bytes": get_args(FieldType),
    "nested": get_args(FieldType),
}
_KINDS_OF_CONSTANTS = {bool: "boolean", int: "integer", float: "float", tuple: "list"}
# The groups whose fields a sync may write, in the order in which they are shown.
GROUPS: tuple[Group, ...] = ("custom", "agent")

# ok: a value can be sent. created: by this very command. to create: Pendo lacks it, and the sync may create it.
# missing: Pendo lacks it. mismatch: the column can never become the field. ambiguous: the name means several fields.
# duplicate: an earlier name means the same field.
FieldState: TypeAlias = Literal["ok", "created", "to create", "missing", "mismatch", "ambiguous", "duplicate"]
USABLE: frozenset[FieldState] = frozenset({"ok", "created", "to create"})
_ADVICE: Mapping[FieldState, str] = {
    "missing": "Create them in Pendo (Settings > Data mappings) or with `dbt-pendo fields --create`, or let "
    "`create_fields: true` do it.",
    "mismatch": "Cast the column in the model, or map it to another field.",
    "ambiguous": "Map such a field by its key.",
    "duplicate": "Map each field once.",
}


@dataclass(frozen=True, slots=True)
class MatchedField:
    """A mapped field, and what Pendo has for it."""

    mapping: Field
    # The column's type in the warehouse's words; None for a constant.
    dtype: str | None
    # The field of Pendo that the name means; None when it means none, or several.
    found: SchemaField | None
    state: FieldState
    # What is wrong with it, or is good to know, as a sentence.
    note: str = ""
    # Which field of Pendo's may have been meant by a name that it lacks, as a sentence after another.
    meant: str = ""

    @property
    def field(self) -> PendoField:
        """The field to send values to; by the user's name while Pendo does not have it."""
        declared = self.found.type if self.found else None
        return PendoField(self.found.key if self.found else self.mapping.name, self.mapping.type or declared)

    @property
    def new_type(self) -> FieldType:
        """The type a new field takes from its mapping, its column or its constant."""
        kind = self._kind
        return self.mapping.type or ("string" if kind in (None, "nested", "bytes") else cast(FieldType, kind))

    @property
    def _kind(self) -> str | None:
        if self.dtype is not None:
            return kind_of(self.dtype)
        constant = None if isinstance(self.mapping.source, Column) else self.mapping.source.value
        return _KINDS_OF_CONSTANTS.get(type(constant))

    def misfit(self, type_: FieldType | None) -> str:
        """Says why the column can never become a field of a type; empty when it can, in one row or another."""
        if not isinstance(self.mapping.source, Column) or self.dtype is None or type_ is None:
            return ""
        if type_ not in _UNFIT.get(self._kind, ()):
            return ""
        return (
            f"column {self.mapping.source.name} is {self.dtype.lower()}, which the {type_} field {self.mapping.name} "
            "cannot hold."
        )

    def loss(self) -> str:
        """Says which rows of a column that fits will be invalid all the same; empty when none has to be."""
        if self._kind == "float" and self.field.type == "integer":
            return f"Pendo's field {self.mapping.name} is of whole numbers: a row with decimals is invalid."
        return ""


def agent_warnings(spec: SyncSpec) -> tuple[str, ...]:
    """Returns the warning about agent fields, which do not stay as a sync wrote them (pendo-api.md 8.2)."""
    if "agent" not in spec.groups:
        return ()
    return ("Pendo's snippet overwrites agent fields on the next page view; `group: custom` keeps what a sync wrote.",)


def match(spec: SyncSpec, source: ModelTable, schema: Schema) -> tuple[MatchedField, ...]:
    """Finds each mapped field in Pendo's schema.

    Args:
        spec: The sync.
        source: The model's columns, whose types have to fit.
        schema: The fields of the sync's object.
    """
    dtypes = dict(zip(spec.columns, (column.dtype for column in source.columns), strict=True))
    matched: list[MatchedField] = []
    first: dict[tuple[Group, str], str] = {}
    for mapping in spec.fields:
        dtype = dtypes[mapping.source.name] if isinstance(mapping.source, Column) else None
        one = _match_one(spec, mapping, dtype, schema)
        if one.found is not None:
            earlier = first.setdefault((mapping.group, one.found.key), mapping.name)
            if earlier != mapping.name:
                note = f"`{mapping.name}` and `{earlier}` are the same {mapping.group} field, `{one.found.key}`."
                one = replace(one, state="duplicate", note=note)
        matched.append(one)
    return tuple(matched)


def allow_creation(matched: Iterable[MatchedField]) -> tuple[MatchedField, ...]:
    """Takes the fields that Pendo lacks for such as may be created, or says why one cannot be."""
    return tuple(_creatable(one) if one.state == "missing" else one for one in matched)


def after_creation(before: Sequence[MatchedField], now: Sequence[MatchedField]) -> tuple[MatchedField, ...]:
    """Compares the fields as they are with what was to be created: Pendo's 200 proves nothing."""
    return tuple(_created(wanted, one) for wanted, one in zip(before, now, strict=True))


def unusable(spec: SyncSpec, matched: Iterable[MatchedField]) -> ConfigError | None:
    """Returns the error of a sync whose fields cannot all be written; None if they can."""
    wrong = [one for one in matched if one.state not in USABLE]
    if not wrong:
        return None
    return ConfigError(
        [f"{spec.file}: {spec.name}: {one.note}" for one in wrong],
        " ".join(_ADVICE[state] for state in dict.fromkeys(one.state for one in wrong)),
    )


def kind_of(dtype: str) -> str | None:
    """Returns the kind of value a column holds, by its type in the warehouse's words; None for text and unknown."""
    lowered = dtype.strip().lower()
    return next((kind for pattern, kind in _DTYPES if re.search(pattern, lowered)), None)


def short_dtype(dtype: str) -> str:
    """Returns a type in the warehouse's words, for people: the standard's long word takes half of a line."""
    return " ".join(dtype.lower().replace("character varying", "varchar").split())


def _match_one(spec: SyncSpec, mapping: Field, dtype: str | None, schema: Schema) -> MatchedField:
    candidates = schema.candidates(mapping.group, mapping.name)
    if not candidates:
        meant = _meant(mapping, schema)
        note = f"Pendo has no {mapping.group} {spec.object} field `{mapping.name}`.{meant}"
        return MatchedField(mapping, dtype, None, "missing", note, meant)
    if len(candidates) > 1:
        keys = " or ".join(f"`{one.key}`" for one in candidates)
        note = f"Pendo has {len(candidates)} {mapping.group} fields that `{mapping.name}` may mean: {keys}."
        return MatchedField(mapping, dtype, None, "ambiguous", note)
    one = MatchedField(mapping, dtype, candidates[0], "ok")
    if misfit := one.misfit(one.field.type):
        return replace(one, state="mismatch", note=misfit)
    return replace(one, note=one.loss())


def _creatable(one: MatchedField) -> MatchedField:
    name, type_ = one.mapping.name, one.new_type
    if not is_field_name(name):
        note = f"The name of a new field must be {FIELD_NAME_RULE}: write `{field_name_spelling(name)}`."
        return replace(one, note=f"{one.note} {note}")
    if type_ not in CREATABLE_TYPES:
        return replace(one, note=f"{one.note} Pendo's API creates no {type_} fields.")
    if misfit := one.misfit(type_):
        return replace(one, state="mismatch", note=misfit)
    # To create it is what was asked for, and may be a slip all the same.
    note = f"`{name}` is a new {one.mapping.group} field.{one.meant}" if one.meant else ""
    return replace(one, state="to create", note=note)


def _created(wanted: MatchedField, one: MatchedField) -> MatchedField:
    if wanted.state != "to create":
        # Why it could not be created is more than that it is missing.
        return wanted if one.state == "missing" else one
    if one.state == "missing":
        note = f"Pendo took the request to create `{wanted.mapping.name}`, and has no such field."
        return replace(one, note=note)
    return replace(one, state="created", note=wanted.note or one.note) if one.state == "ok" else one


def _meant(mapping: Field, schema: Schema) -> str:
    """Points at the field that was likely meant: in another group, or of a name much like it."""
    elsewhere = [group for group in schema.groups if group != mapping.group and schema.find(group, mapping.name)]
    for group in GROUPS:
        if group in elsewhere:
            return f" There is one in the group `{group}`."
    if elsewhere:
        return f" There is one in the group `{elsewhere[0]}`, which no sync can write."
    fields = schema.groups.get(mapping.group, {}).values()
    # Of two that are alike the key is the safer one.
    advice = did_you_mean(mapping.name, [spelling for one in fields for spelling in (one.display_name, one.key)])
    return f" {advice}" if advice else ""
