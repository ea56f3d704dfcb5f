"""Files of programs: their checksum, and the module that they hold."""

import hashlib
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from fre_lightning.errors import BackboneError


def checksum(file: Path, expected: str | None) -> str:
    """The SHA-256 of a file.

    Args:
        file: The file.
        expected: What it must be; None: anything.

    Raises:
        BackboneError: If the file cannot be read, or is another one.
    """
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}). Correct classifier.file."
        raise BackboneError(msg) from error
    if expected not in {None, found}:
        msg = f"{file} is not the program of the checksum {expected}. Give that one."
        raise BackboneError(msg)
    return found


def load_program(file: Path) -> Any:
    """The program as a module, on the CPU.

    Raises:
        BackboneError: If the file has none, or none of this version of torch.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {Path(name).name for name in archive.namelist()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, and what many still have
            if "constants.pkl" in members:
                return torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
            if "archive_format" in members:
                return torch.export.load(io.BytesIO(file.read_bytes())).module()
    except Exception as error:  # torch raises all kinds
        msg = (
            f"{file} cannot be loaded as a program ({type(error).__name__}). Save it once more, "
            f"with torch {torch.__version__}."
        )
        raise BackboneError(msg) from error
    msg = (
        f"{file} is no program of torch.export.save or torch.jit.save. Weights of a network that "
        "has a name are for classifier=torchvision or timm."
    )
    raise BackboneError(msg)
