"""What is never shown, such as keys, tokens and passwords of proxies; and files that only their owner may read.

Such files hold ids, values and Pendo's answers: personal data.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import html
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl, unquote

SECRET_PREFIX = "DBT_ENV_SECRET_"  # noqa: S105 - dbt Cloud hides variables of this prefix in its logs
HIDDEN = "***"
# A shorter secret is hidden where it stands alone, not inside of other words.
SHORTEST_INSIDE = 6
# Characters of a text by others that a message shows.
LONGEST_QUOTE = 300
# Characters of base64 that are enough to recognise a secret.
SHORTEST_ENCODED = 6
_BACKSLASHES = re.compile(r"\\+(?:u([0-9a-f]{4}))?")
# Up to the last @, for a password may hold one, and a slash, where it should be written %40 and %2f.
_USERINFO = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(.*)@")
# What is no secret: keys, tokens and URLs are longer, and have more than letters.
_WORD = re.compile(r"[A-Za-z_-]{1,20}|.{0,8}")


class Secret:
    """A key that no text shows; only ``reveal`` returns it."""

    __slots__ = ("_encoded", "_is_odd", "_lowered", "_pattern", "_text", "variable")

    def __init__(self, text: str, variable: str) -> None:
        self._text = text
        self._lowered = text.lower()
        self._encoded = tuple(dict.fromkeys(_encoded(text)))
        # `_read` may change the spelling of such a secret in a text.
        self._is_odd = not text.isascii() or any(mark in text for mark in "\\%&")
        spelt = "".join(map(_spellings, text))
        if len(text) < SHORTEST_INSIDE:
            spelt = rf"(?<!\w){spelt}(?!\w)"
        self._pattern = re.compile("|".join([f"(?i:{spelt})", *map(re.escape, self._encoded)]))
        self.variable = variable

    def __len__(self) -> int:
        return len(self._text)

    def reveal(self) -> str:
        """Returns the secret itself, for the request alone."""
        return self._text

    def fingerprint(self, about: str) -> str:
        """Returns 32 hex digits that another secret does not have, and that tell nothing of this one."""
        return hmac.new(self._text.encode(), about.encode(), "sha256").hexdigest()[:32]

    def hidden_in(self, text: str, read: str) -> str:
        """Returns a text by others without the secret, in any spelling.

        Args:
            text: The text.
            read: The result of ``_read``: most texts hold no secret, and a search is cheap.
        """
        if self._lowered in read or self._is_odd:
            return self._pattern.sub(HIDDEN, text)
        for encoded in self._encoded:
            if encoded in text:
                return self._pattern.sub(HIDDEN, text)
        return text

    def __repr__(self) -> str:
        return f"Secret({self.variable})"


class Secrets:
    """All secrets that others may quote."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted({one.reveal(): one for one in secrets if len(one)}.values(), key=len, reverse=True)
        self._shortest = min(map(len, self._secrets), default=0)

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets((*self._secrets, *other._secrets))

    def hidden_in(self, text: str) -> str:
        """Returns a text without any of them."""
        if not self._secrets or len(text) < self._shortest:
            return text
        read = _read(text)
        for secret in self._secrets:
            text = secret.hidden_in(text, read)
        return text

    def first_line(self, text: str) -> str:
        """Returns the start of a text by others on one line; hidden first, as a part of a secret would not be known."""
        return " ".join(self.hidden_in(text).split())[:LONGEST_QUOTE]


def find_secret(environ: Mapping[str, str], variable: str) -> Secret | None:
    """Returns the secret of a variable, or of the one of that name that dbt Cloud wants; None if both are empty."""
    for name in (variable, f"{SECRET_PREFIX}{variable}"):
        if text := environ.get(name, "").strip():
            return Secret(text, name)
    return None


def shown_word(word: Any) -> str:
    """Returns a misplaced word as a message shows it; not the word itself if it may be a key or a URL."""
    text = str(word)
    return text if _WORD.fullmatch(text) else f"({len(text)} characters, which may be a secret)"


def without(secrets: Secrets, document: Any) -> Any:
    """Returns a JSON document without any of the secrets in its texts."""
    if isinstance(document, str):
        return secrets.hidden_in(document)
    if isinstance(document, (list, tuple)):
        return [without(secrets, item) for item in document]
    if isinstance(document, Mapping):
        return {
            secrets.hidden_in(key) if isinstance(key, str) else key: without(secrets, value)
            for key, value in document.items()
        }
    return document


def secrets_of_url(url: str, variable: str) -> Iterator[Secret]:
    """Yields what is secret in a URL, well formed or not: the password before its host, the values of its query."""
    if (found := _USERINFO.match(url)) is not None:
        userinfo = found[1]
        user, _, password = userinfo.partition(":")
        # A name alone may be a token. Beside a password it is a name, and may be any word.
        for text in (userinfo, password or user):
            yield from (Secret(one, variable) for one in {text, unquote(text)} if one)
    _, _, query = url.partition("?")
    yield from (Secret(value, variable) for _, value in parse_qsl(query.partition("#")[0]))


def _read(text: str) -> str:
    """Returns a text in lower case, followed by its meaning if it is JSON, a URL or HTML."""
    lowered = text.lower()
    meant = _BACKSLASHES.sub(_unescaped, lowered) if "\\" in lowered else lowered
    meant = unquote(meant) if "%" in meant else meant
    meant = html.unescape(meant).lower() if "&" in meant else meant
    return lowered if meant is lowered else f"{lowered}\n{meant.lower()}"


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else ""


def _spellings(character: str) -> str:
    """Returns a pattern of a character as it is, in JSON (perhaps inside JSON), in a URL and in HTML."""
    code, plain = ord(character), re.escape(character)
    # No two alternatives may match the same text: that would take exponential time.
    named = f"|{named}" if (named := html.escape(character)) != character else ""
    return rf"(?:\\{{0,3}}(?:{plain}|u{code:04x})|%{code:02x}|&#0{{0,5}}{code};|&#x0{{0,5}}{code:x};{named})"


def _encoded(text: str) -> Iterator[str]:
    """Yields a secret as it is in base64, alone or after 1 or 2 bytes of others, in both alphabets."""
    content = text.encode(errors="replace")
    for before in range(3):
        # Only the characters that its own bytes alone make.
        own = slice((before * 8 + 5) // 6, (before + len(content)) * 8 // 6)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(bytes(before) + content).decode()[own]
            if len(encoded) >= SHORTEST_ENCODED:
                yield encoded


# A file system without such rights is no error.
FOLDER_MODE, FILE_MODE = 0o700, 0o600
FOLDER = "dbt_pendo"


def private_folder(target_path: Path, *parts: str) -> Path:
    """Makes our folder in dbt's target folder, which stays as it is, and folders inside ours.

    Raises:
        OSError: If it cannot be made.
    """
    target_path.mkdir(parents=True, exist_ok=True)
    folder = target_path
    for part in (FOLDER, *parts):
        folder /= part
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        _narrow(folder, FOLDER_MODE)
    return folder


def narrow_folder(target_path: Path) -> None:
    """Takes the right to read our folder, as earlier versions left it, from everybody else."""
    for folder, _, files in os.walk(target_path / FOLDER):
        _narrow(Path(folder), FOLDER_MODE)
        for name in files:
            _narrow(Path(folder, name), FILE_MODE)


def open_private(path: Path) -> BinaryIO:
    """Opens a new file for writing, unbuffered: the operating system gets each write at once.

    Raises:
        OSError: If it cannot be opened.
    """
    file = open(path, "wb", buffering=0, opener=lambda name, flags: os.open(name, flags, FILE_MODE))  # noqa: SIM115
    _narrow(path, FILE_MODE)
    return cast(BinaryIO, file)


def replace_private(path: Path, content: bytes) -> None:
    """Writes a file in place of an older one, never half, even if others write it at the same time.

    What is no file, `/dev/stdout` say or a pipe, is written into: root could replace it.

    Raises:
        OSError: If it cannot be written; the older one is left.
    """
    # /dev/stdout leads to a file where that is redirected to one.
    if path.exists() and (path.parent == Path(os.devnull).parent or not (path.is_file() or path.is_dir())):
        path.write_bytes(content)
        return
    # The module makes files that nobody else may read.
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    draft = Path(name)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle has no path
            file.write(content)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _narrow(path: Path, mode: int) -> None:
    """Takes rights away, and never gives any; the target of a link is not ours."""
    with contextlib.suppress(OSError):
        rights = path.lstat().st_mode & 0o777
        if not path.is_symlink() and rights & ~mode:
            path.chmod(rights & mode)
