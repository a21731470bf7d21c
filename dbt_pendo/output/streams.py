"""The process's streams, whatever can be written to them: what cannot is lost or escaped, and ends no run."""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from pathlib import Path
from typing import Any, TextIO

from dbt_pendo.wording import json_escape

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def json_for(stream: TextIO, text: str) -> str:
    """Returns a JSON document as a stream can write it: where characters have no code, with JSON's escapes."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return _NOT_ASCII.sub(lambda found: json_escape(found[0]), text)
    return text


class _Steady(io.RawIOBase):
    """The lowest layer of a stream, above which nothing fails; what cannot be written is lost."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        # Why something was lost; None while nothing was.
        self.fault: OSError | None = None
        self.is_reported = False

    def write(self, data: Any) -> int:
        try:
            # A pipe that does not block takes nothing while it is full.
            while (written := self._raw.write(data)) is None:
                select.select((), (self._raw,), (), 1.0)
        except OSError as error:
            self.fault = self.fault or error
            return len(data)
        return int(written)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())


def steady_streams() -> None:
    """Replaces this process's streams by ones that lose what cannot be written, and escape what cannot be encoded."""
    sys.stdout, sys.stderr = _steady(sys.stdout), _steady(sys.stderr)


def lost_output(is_silent_about_readers: bool = False) -> bool:
    """Tells the user on stderr, once, that not all of stdout arrived.

    Args:
        is_silent_about_readers: Print nothing if a reader such as `head` has closed the pipe.

    Returns:
        Whether something was lost that somebody would read.
    """
    sys.stdout.flush()
    stream = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(stream, _Steady) or stream.fault is None:
        return False
    reader_left = stream.fault.errno == errno.EPIPE
    if not stream.is_reported and not (reader_left and is_silent_about_readers):
        stream.is_reported = True
        sys.stderr.write(f"Not all output could be written: {stream.fault.strerror}. The command went on to its end.\n")
    return not reader_left


def _steady(stream: TextIO | None) -> TextIO:
    if stream is None:
        # Closed before we began.
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Steady(getattr(stream.buffer, "raw", stream.buffer))),
        encoding=stream.encoding,
        errors="backslashreplace",
        # Python's -u writes each text at once; lines are the nearest to it.
        line_buffering=stream.line_buffering or stream.write_through,
    )
