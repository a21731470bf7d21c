"""The mapped fields beside those of Pendo: which field a name means, and whether its column fits."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.keys import GROUPS
from dbt_pendo.mapping.objects import CONSENTS, FIELD_NAME, FIELD_NAME_RULE, OBJECTS, RECORDS, field_name_spelling
from dbt_pendo.mapping.spec import Column, Field, FieldType, Group, MappingError, Object, Problem, SyncSpec
from dbt_pendo.pendo.ahead import Ahead
from dbt_pendo.pendo.client import PendoClient, PendoError, UnavailableError
from dbt_pendo.pendo.fields import CREATABLE_TYPES, LARGEST_CREATION, Creation, create_fields
from dbt_pendo.pendo.metadata import Schema, SchemaField, read_schema, verify_key
from dbt_pendo.pendo.track import read_event_names, verify_secret
from dbt_pendo.records.render import PendoField
from dbt_pendo.secret import Secret
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.wording import did_you_mean

# The words adapters have for types, and the kind of value such a column holds. The first that matches counts.
_DTYPES: Sequence[tuple[str, str]] = (
    (r"\[\]|^array|^list|^super", "list"),
    (r"struct|^record|^object|^map|json|variant", "nested"),
    (r"^bool", "boolean"),
    (r"^(tiny|small|medium|big|huge|u|byte)*int(eger|\d+)?\b|^(big)?serial|^long$|^short$", "integer"),
    (r"^(numeric|decimal|number|bignumeric)\(\d+(, *0)?\)|^fixed\(\d+, *0\)", "integer"),
    (r"^(numeric|decimal|number|bignumeric|dec)|^(float|double|real)", "float"),
    (r"^(date|timestamp|smalldatetime)", "time"),
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

# ok: a value can be sent. created: by this very command. to create: Pendo lacks it, and the sync may create it.
# missing: Pendo lacks it. mismatch: the column can never become the field. ambiguous: the name means several fields.
# duplicate: an earlier name means the same field.
FieldState: TypeAlias = Literal["ok", "created", "to create", "missing", "mismatch", "ambiguous", "duplicate"]
USABLE: frozenset[FieldState] = frozenset({"ok", "created", "to create"})
_ADVICE: Mapping[FieldState, str] = {
    "missing": "Create them in Pendo (Settings > Metadata) or with `dbt-pendo fields --create`, or let "
    "`create_fields: true` do it.",
    "mismatch": "Cast the column in the model, remove or correct `type`, or map another field.",
    "ambiguous": "Map such a field by its key.",
    "duplicate": "Map each field once.",
}


_UNDELETED = "It existed before; Pendo brings its old values back within hours."


Answered = TypeVar("Answered")


class FieldsRefusedError(PendoError):
    """Pendo does not create some fields."""


class PendoFacts:
    """What Pendo says of keys and fields, asked once in a run.

    A key that Pendo refuses, or does not answer for, is not asked about again: other syncs need not wait through all
    retries.
    """

    def __init__(self, client: PendoClient) -> None:
        self.client = client
        self._schemas: dict[Object, Schema] = {}
        # Whether a key or secret may write, or why it cannot be used.
        self._keys: dict[Secret, bool | PendoError] = {}
        self._ahead: Ahead | None = None

    @contextlib.contextmanager
    def asked_ahead(self, objects: Collection[Object]) -> Iterator[None]:
        """Asks beside the work of the block, which may ask for them, about the integration key and then about fields.

        Args:
            objects: Whose fields; none if nothing is to be asked.
        """
        key = self.client.settings.integration_key
        if key is None or not objects:
            yield
            return
        questions: dict[Any, Callable[[PendoClient], Any]] = {key: verify_key}
        questions |= {one: partial(read_schema, object_=one) for one in objects if one in RECORDS}
        with Ahead(self.client, questions) as self._ahead:
            yield

    def require_key(self, writes: bool = True) -> None:
        """Makes sure that the integration key is good, and may write if it has to.

        Raises:
            ConfigError: If it is not set, or read-only where that does not do.
            KeyRefusedError: If Pendo does not know it.
        """
        key = self.client.settings.require_integration_key()
        if not self._ask(key, verify_key) and writes:
            raise ConfigError(
                "The integration key may only read.",
                "Create one with write access in Pendo (Settings > Integrations) and put it in "
                f"{self.client.settings.integration_key_variable}.",
            )

    def require_track_secret(self, app: str | None) -> None:
        """Makes sure that Pendo knows the Track Event shared secret of an app.

        Raises:
            ConfigError: If it is not set.
            KeyRefusedError: If Pendo does not know it.
        """
        secrets = self.client.settings.track_secrets.values()
        try:
            self._ask(self.client.settings.require_track_secret(app), partial(verify_secret, app=app))
        except UnavailableError as error:
            # It will not answer for another app's secret either.
            self._keys |= dict.fromkeys(secrets, error)
            raise

    def schema(self, object_: Object) -> Schema:
        """Returns the fields of a kind of object."""
        if object_ not in self._schemas:
            self._schemas[object_] = self._answer(object_, partial(read_schema, object_=object_))
        return self._schemas[object_]

    @cached_property
    def event_names(self) -> frozenset[str] | None:
        """The names of the track events that Pendo knows; None if it does not tell them, or no key is set to ask it."""
        if self.client.settings.integration_key is None:
            return None
        try:
            return read_event_names(self.client)
        except PendoError:
            return None

    def create_fields(
        self, object_: Object, group: Group, types: Mapping[str, FieldType], fields_per_call: int = LARGEST_CREATION
    ) -> Creation:
        """Creates fields, and forgets the schema that did not have them."""
        self.forget(object_)
        return create_fields(self.client, object_, group, types, fields_per_call)

    def forget(self, object_: Object) -> None:
        """Forgets the schema of a kind of object, which is about to be another."""
        self._schemas.pop(object_, None)

    def _ask(self, key: Secret, verify: Callable[[PendoClient], bool]) -> bool:
        if key not in self._keys:
            try:
                self._keys[key] = self._answer(key, verify)
            except PendoError as error:
                self._keys[key] = error
        found = self._keys[key]
        if isinstance(found, PendoError):
            raise found
        return found

    def _answer(self, question: Secret | Object, ask: Callable[[PendoClient], Answered]) -> Answered:
        return ask(self.client) if self._ahead is None else self._ahead.take(question, ask)


@dataclass(frozen=True, slots=True)
class MatchedField:
    """A mapped field, and what Pendo has for it."""

    mapping: Field
    # The column's type in the warehouse's words; None for a constant, and for a column that is not there.
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
        kind = self.kind
        return self.mapping.type or ("string" if kind in (None, "nested", "bytes") else cast(FieldType, kind))

    @property
    def kind(self) -> str | None:
        """The kind of its values; None for text and unknown."""
        if self.dtype is not None:
            return kind_of(self.dtype)
        constant = None if isinstance(self.mapping.source, Column) else self.mapping.source.value
        return _KINDS_OF_CONSTANTS.get(type(constant))

    def misfit(self, type_: FieldType | None) -> str:
        """Says why the column can never become a field of a type; empty when it can, in one row or another."""
        mapping = self.mapping
        if not isinstance(mapping.source, Column) or type_ not in _UNFIT.get(self.kind, ()):
            return ""
        dtype = (self.dtype or "").lower()
        return f"column {mapping.source.name} is {dtype}, which the {type_} field {mapping.name} cannot hold."


def agent_warnings(spec: SyncSpec) -> tuple[str, ...]:
    """Returns the warning about agent fields, which do not stay as a sync wrote them (pendo-api.md 8.2)."""
    if "agent" not in spec.groups:
        return ()
    return ("Pendo's snippet overwrites agent fields on the next page view; `group: custom` keeps what a sync wrote.",)


def match(spec: SyncSpec, columns: Mapping[str, TableColumn], schema: Schema) -> tuple[MatchedField, ...]:
    """Finds each mapped field in Pendo's schema.

    Args:
        spec: The sync.
        columns: The mapped columns that are there, whose types have to fit, by the names that the user gave them.
        schema: The fields of the sync's object.
    """
    matched: list[MatchedField] = []
    first: dict[tuple[Group, str], str] = {}
    for mapping in spec.fields:
        column = columns.get(mapping.source.name) if isinstance(mapping.source, Column) else None
        dtype = column.dtype if column else None
        one = _match_one(spec, mapping, dtype, schema)
        if one.found is not None:
            earlier = first.setdefault((mapping.group, one.found.key), mapping.name)
            if earlier != mapping.name:
                note = f"`{mapping.name}` and `{earlier}` are the same {mapping.group} field, `{one.found.key}`."
                one = replace(one, state="duplicate", note=note)
        matched.append(one)
    return tuple(matched)


def offline_fields(spec: SyncSpec) -> tuple[PendoField, ...]:
    """Returns the mapped fields as the user named them, for plans made without asking Pendo."""
    return tuple(PendoField(mapping.name, mapping.type) for mapping in spec.fields)


def match_fields(
    pendo: PendoFacts, spec: SyncSpec, columns: Mapping[str, TableColumn], may_create: bool
) -> tuple[MatchedField, ...]:
    """Finds each mapped field in Pendo's schema, and creates those that ``create_fields`` allows.

    Args:
        pendo: Pendo.
        spec: The sync.
        columns: The mapped columns that are there, whose types new fields take.
        may_create: Whether missing fields are created now; else they are taken for created.

    Raises:
        MappingError: If a field is not there, or cannot hold what the column has.
    """
    if spec.object not in RECORDS:
        return ()
    matched = match(spec, columns, pendo.schema(spec.object))
    if spec.create_fields:
        matched = allow_creation(matched)
    # Before anything is created: a sync that cannot run anyway leaves nothing behind.
    error = unusable(spec, matched)
    if may_create and error is None:
        matched = create_missing(pendo, spec, columns, matched)
        error = unusable(spec, matched)
    if error is not None:
        raise error
    return matched


def new_fields(matched: Iterable[MatchedField]) -> list[dict[str, str]]:
    """Returns the fields that were created, or are to be: name, group and type; and a note if one existed before."""
    return [
        {"name": one.mapping.name, "group": one.mapping.group, "type": one.new_type}
        | ({"note": _UNDELETED} if _UNDELETED in one.note else {})
        for one in matched
        if one.state in ("created", "to create")
    ]


def create_missing(
    pendo: PendoFacts, spec: SyncSpec, columns: Mapping[str, TableColumn], matched: tuple[MatchedField, ...]
) -> tuple[MatchedField, ...]:
    """Creates the fields that may be, and returns all of the sync under the keys that Pendo gave them.

    Raises:
        FieldsRefusedError: If Pendo refuses to.
    """
    now, refused, undeleted = matched, [], set()
    for group in GROUPS:
        types = _new_types(matched, "to create", group)
        fields_per_call, reasons = LARGEST_CREATION, dict[str, str]()
        while types:
            created = pendo.create_fields(spec.object, group, types, fields_per_call)
            reasons |= created.refused
            undeleted |= {(group, name) for name in created.undeleted}
            now = tuple(map(_created, matched, match(spec, columns, pendo.schema(spec.object))))
            was_alone = fields_per_call == 1 or len(types) == 1
            lacking = _new_types(now, "missing", group)
            types = {name: type_ for name, type_ in types.items() if name in lacking and name in created.refused}
            if was_alone:
                break
            # One of them may have spoiled the call for all: each alone, for Pendo's own words about it.
            fields_per_call = 1
        plural = OBJECTS[spec.object].plural
        refused += [f"Pendo does not create the {group} field {name} of {plural}: {reasons[name]}." for name in types]
    if refused:
        raise FieldsRefusedError(
            refused, "Create them in Pendo (Settings > Metadata), or map them to fields that it has."
        )
    return tuple(
        replace(one, note=f"{one.note} {_UNDELETED}".lstrip())
        if one.state == "created" and (one.mapping.group, one.mapping.name) in undeleted
        else one
        for one in now
    )


def allow_creation(matched: Iterable[MatchedField]) -> tuple[MatchedField, ...]:
    """Takes the fields that Pendo lacks for such as may be created, or says why one cannot be."""
    return tuple(_creatable(one) if one.state == "missing" else one for one in matched)


def unusable(spec: SyncSpec, matched: Iterable[MatchedField]) -> MappingError | None:
    """Returns the error of a sync whose fields cannot all be written; None if they can."""
    wrong = [one for one in matched if one.state not in USABLE]
    if not wrong:
        return None
    return MappingError(
        [
            Problem(
                *(spec.file, spec.name, f"fields.{one.mapping.name}", one.note),
                column=next(iter(one.mapping.source.columns), ""),
                unique_id=spec.unique_id,
                shows_key=False,
            )
            for one in wrong
        ],
        " ".join(_ADVICE[state] for state in dict.fromkeys(one.state for one in wrong)),
    )


def kind_of(dtype: str) -> str | None:
    """Returns the kind of value a column holds, by its type in the warehouse's words; None for text and unknown."""
    lowered = dtype.strip().lower()
    return next((kind for pattern, kind in _DTYPES if re.search(pattern, lowered)), None)


def short_dtype(dtype: str) -> str:
    """Returns a type in the warehouse's words, for people: the standard's long word takes half of a line."""
    return " ".join(dtype.lower().replace("character varying", "varchar").split())


def _new_types(matched: Iterable[MatchedField], state: FieldState, group: Group) -> dict[str, FieldType]:
    return {one.mapping.name: one.new_type for one in matched if one.state == state and one.mapping.group == group}


def _match_one(spec: SyncSpec, mapping: Field, dtype: str | None, schema: Schema) -> MatchedField:
    if mapping.group == "pendo":
        return _match_consent(mapping, dtype)
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
    if (declared := candidates[0].type) is not None and not _takes(declared, mapping.type):
        note = f"`type: {mapping.type}` of `{mapping.name}` does not fit Pendo's field, which is of type {declared}."
        return replace(one, state="mismatch", note=note)
    if misfit := one.misfit(one.field.type):
        return replace(one, state="mismatch", note=misfit)
    if one.kind == "float" and one.field.type == "integer":
        return replace(one, note=f"Pendo's field {mapping.name} is of whole numbers: a row with decimals is invalid.")
    return one


def _match_consent(mapping: Field, dtype: str | None) -> MatchedField:
    """Returns a field that Pendo documents, whether its schema lists it or not; its column says yes or no."""
    one = MatchedField(mapping, dtype, SchemaField(mapping.name, mapping.name, "boolean"), "ok")
    if one.kind == "boolean" or dtype is None:
        return one
    (column,) = mapping.source.columns
    note = f"column {column} is {short_dtype(dtype or '')}, and the consent {mapping.name} takes a boolean."
    return replace(one, state="mismatch", note=note)


def _takes(declared: FieldType, sent: FieldType | None) -> bool:
    """Says whether a field of a type of Pendo's takes values that a mapping sends as another type."""
    # Pendo's field API knows one type of number (pendo-api.md 3), and a time is sent as text.
    return (
        sent in (None, declared) or {sent, declared} == {"integer", "float"} or (sent, declared) == ("time", "string")
    )


def _creatable(one: MatchedField) -> MatchedField:
    name, type_ = one.mapping.name, one.new_type
    if not FIELD_NAME.fullmatch(name):
        note = f"The name of a new field must be {FIELD_NAME_RULE}: write `{field_name_spelling(name)}`."
        return replace(one, note=f"{one.note} {note}")
    if type_ not in CREATABLE_TYPES:
        return replace(one, note=f"{one.note} Pendo's API creates no {type_} fields.")
    if misfit := one.misfit(type_):
        return replace(one, state="mismatch", note=misfit)
    # The user asked for it, and may still have misspelt the name.
    note = f"`{name}` is a new {one.mapping.group} field.{one.meant}" if one.meant else ""
    return replace(one, state="to create", note=note)


def _created(wanted: MatchedField, one: MatchedField) -> MatchedField:
    """Returns a field as it is now, beside what it was before the creation: Pendo's 200 proves nothing."""
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
    if elsewhere:
        group = min(elsewhere, key=lambda group: group not in GROUPS)
        is_writable = group in GROUPS or (group == "pendo" and mapping.name in CONSENTS)
        return f" There is one in the group `{group}`{'' if is_writable else ', which no sync can write'}."
    fields = schema.groups.get(mapping.group, {}).values()
    # Of two that are alike the key is the safer one.
    advice = did_you_mean(mapping.name, [spelling for one in fields for spelling in (one.display_name, one.key)])
    return f" {advice}" if advice else ""
