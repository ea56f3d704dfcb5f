"""Folders of images that a program makes itself, whole or not at all."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from fre_lightning.errors import DatasetError
from fre_lightning.files import write_json

_MARK = "parameters.json"


def make_once(
    folder: Path, parameters: Mapping[str, object], make: Callable[[Path], None], setting: str
) -> None:
    """Make a folder unless it is there; one process does, others wait.

    Args:
        folder: Its path.
        parameters: Written into it when it is whole, to know it again.
        make: Fills the folder that it is given.
        setting: The key that says where the folder is, for messages.

    Raises:
        DatasetError: If it cannot be written, or was not made by this function with these
            parameters.
    """
    mark = folder / _MARK
    try:
        if not mark.is_file():  # else it is whole, and may be for reading only
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f".{folder.name}.lock"):
                if not mark.is_file():
                    _make(folder, parameters, make, setting)
        if json.loads(mark.read_text(encoding="utf-8")) != parameters:
            msg = f"{folder} was made with other settings. Move it, or set {setting}."
            raise DatasetError(msg)
    except OSError as error:
        msg = (
            f"The images cannot be written to {folder.absolute()} ({error}). Set {setting} to a "
            "folder that can be written to."
        )
        raise DatasetError(msg) from error


def _make(
    folder: Path, parameters: Mapping[str, object], make: Callable[[Path], None], setting: str
) -> None:
    if folder.exists():
        msg = f"{folder} exists but was not made by this program. Move it, or set {setting}."
        raise DatasetError(msg)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what an interrupted process left
    try:
        partial.mkdir()
        make(partial)
        write_json(partial / _MARK, parameters)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
