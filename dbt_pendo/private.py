"""Files for their owner alone: ids, values and Pendo's answers are personal data."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

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
