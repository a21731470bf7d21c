"""A copy of the records that Pendo has, in a file, to look them up by their ids (`verify`)."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.pendo.records import Hidden, PendoRecord, View, read_records
from dbt_pendo.secret import private_folder

# Where Pendo has a record, and its values, as a JSON list.
Held: TypeAlias = tuple[View, bytes]
# The views of records that Pendo does not show among the others.
HIDDEN_VIEWS: Mapping[Hidden, str] = {"excluded": "on its exclude list", "do_not_process": "marked Do Not Process"}


class RecordCopy:
    """What Pendo has of all records, in a SQLite database: memory takes a byte a record.

    Attributes:
        warnings: What Pendo does not let be seen.
    """

    def __init__(
        self, database: sqlite3.Connection, values: Callable[[PendoRecord], Sequence[Any]], plural: str, read: _Read
    ) -> None:
        self.warnings: list[str] = []
        self._database = database
        self._values = values
        self._plural = plural
        self._read = read
        # What is read once a record is not among the others.
        self._unread: list[Hidden] = list(HIDDEN_VIEWS)
        # It is not read again after a crash.
        database.executescript("pragma journal_mode = off; pragma synchronous = off")
        # Keys are bytes, for a driver may hand out text that is none.
        database.execute("create table records (number integer primary key, key blob unique, view text, fields blob)")
        # By the number of a record: whether it was found.
        self._met = bytearray()

    def fill(self, with_hidden: bool) -> None:
        """Reads the records that Pendo shows; ``find`` reads those that it hides, if they are wanted at all.

        Raises:
            PendoError: If Pendo does not let them be read.
        """
        if not with_hidden:
            self._unread = []
        for page in self._read("shown"):
            self._add(page, "shown")

    def find(self, keys: Collection[str]) -> dict[str, Held]:
        """Returns those of some records that Pendo has."""
        keys = set(keys)
        found = self._find(keys)
        while self._unread and len(found) < len(keys):
            self._read_hidden(self._unread.pop(0))
            found = self._find(keys)
        return found

    def never_found(self) -> tuple[int, str | None]:
        """Returns how many of the records that Pendo shows were never found, and the first of their keys."""
        records = self._database.execute("select number, key from records where view = 'shown' order by key")
        count, first = 0, None
        for number, key in records:
            if not self._met[number]:
                count += 1
                first = first or key.decode("utf-8", "surrogatepass")
        return count, first

    def has_children_alone(self) -> bool:
        """Returns whether all records that Pendo shows have ids of the form ``Parent::Child``."""
        others = "select 1 from records where view = 'shown' and instr(key, cast('::' as blob)) = 0 limit 1"
        return bool(self._met) and self._database.execute(others).fetchone() is None

    def _add(self, records: Iterable[PendoRecord], view: View) -> bool:
        """Adds records, and returns whether one of them was not there yet."""
        before = self._database.total_changes
        for record in records:
            row = (len(self._met), _bytes(record.key), view, orjson.dumps(self._values(record)))
            self._database.execute("insert or ignore into records values (?, ?, ?, ?)", row)
            self._met.append(False)
        self._database.commit()
        return self._database.total_changes > before

    def _find(self, keys: Iterable[str]) -> dict[str, Held]:
        found: dict[str, Held] = {}
        for key in keys:
            row = self._database.execute("select * from records where key = ?", [_bytes(key)]).fetchone()
            if row is not None:
                self._met[row[0]] = True
                found[key] = row[2], row[3]
        return found

    def _read_hidden(self, view: Hidden) -> None:
        """Adds records that Pendo hides. It is not known whether it lets them be read: if not, that is a warning."""
        reason = ""
        try:
            for page in self._read(view):
                if not self._add(page, view) and view == "excluded":
                    reason = "it takes no notice of the option `blacklist`"
                    break
        except PendoError as error:
            reason = error.message.rstrip(".")
        if reason:
            which = f"{self._plural} are {HIDDEN_VIEWS[view]}"
            self.warnings.append(f"Pendo does not say which {which} ({reason}): a missing one may be such")


_Read: TypeAlias = Callable[[View], Iterator[list[PendoRecord]]]


@contextlib.contextmanager
def copied_records(
    client: PendoClient,
    object_: Object,
    values: Callable[[PendoRecord], Sequence[Any]],
    target_path: Path,
    since: int | None,
    on_page: Callable[[], None],
) -> Iterator[RecordCopy]:
    """Copies visitors or accounts to a file for its owner alone, which is gone afterwards.

    Args:
        client: The client.
        object_: Which kind.
        values: Returns what is kept of a record.
        target_path: dbt's target folder, for the file.
        since: Epoch milliseconds: only records last updated since then, and none that Pendo hides; None for all.
        on_page: Called with each page.

    Raises:
        PendoError: If Pendo does not let them be read.
        DbtPendoError: If the file cannot be written.
    """

    def read(view: View) -> Iterator[list[PendoRecord]]:
        for page in read_records(client, object_, view, since):
            on_page()
            yield page

    try:
        with (
            tempfile.NamedTemporaryFile(prefix="verify.", suffix=".sqlite", dir=private_folder(target_path)) as file,
            contextlib.closing(sqlite3.connect(file.name)) as database,
        ):
            copy = RecordCopy(database, values, OBJECTS[object_].plural, read)
            copy.fill(with_hidden=since is None)
            yield copy
    except (OSError, sqlite3.Error) as error:
        raise DbtPendoError(f"What Pendo has cannot be kept in {target_path}: {error}.") from None


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
