"""Where pictures are written. Knows nothing of what is in them."""

from __future__ import annotations

import os
import tempfile
from itertools import count
from pathlib import Path

from keelbill.core.errors import InvalidInput


def write_named(path: Path, data: bytes) -> Path:
    """Write a file that the user named, replacing it whole or not at all.

    Raises:
        InvalidInput: The system does not let us.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write a file under a name that is free: `stem`, else `stem-2`, `stem-3` and so on. Never replaces a file.

    Raises:
        InvalidInput: The system does not let us.
    """
    for number in count(1):
        path = folder / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            continue
        except OSError as error:
            raise _unwritable(path, error) from error
        return path
    raise AssertionError("there is always a free number")


def _unwritable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput("output", str(path), f"a file that can be written ({error.strerror or type(error).__name__})")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
