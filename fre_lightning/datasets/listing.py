"""Image files and folders on disk, sorted by name; hidden ones are left out."""

import os
from collections.abc import Iterator
from pathlib import Path

from fre_lightning.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def is_image_name(path: str | Path) -> bool:
    """Whether the name of a file ends like an image's."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def walk_images(folder: str | Path, ancestors: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yield the image files in a folder and below, sorted by path; their list is never in memory.

    Args:
        folder: The paths begin with it, as given. Links are followed unless they lead back.
        ancestors: The folders, without links, that this one was reached through.

    Raises:
        DatasetError: If a folder cannot be listed.
    """
    real = Path(folder).resolve()
    if real in ancestors:
        return
    for path, is_folder in _entries(folder):
        if is_folder:
            yield from walk_images(path, (*ancestors, real))
        elif is_image_name(path):
            yield path


def list_images_below(folder: Path) -> list[Path]:
    """The image files in a folder and below, sorted; none if the folder is missing."""
    return [path for path in map(Path, walk_images(folder)) if path.is_file()]


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted; none if the folder is missing."""
    paths = [Path(path) for path, _ in _entries(folder) if is_image_name(path)]
    return [path for path in paths if path.is_file()]


def sub_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted; none if the folder is missing."""
    return [Path(path) for path, is_folder in _entries(folder) if is_folder]


def _entries(folder: str | Path) -> list[tuple[str, bool]]:
    """The paths in a folder, each with whether it is a folder itself."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e.path, Path(e).is_dir()) for e in entries if e.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        msg = f"The folder {folder} cannot be listed ({error.strerror})."
        raise DatasetError(msg) from error
