"""Image files, masks and folders on disk, sorted by name, without hidden and system folders."""

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fre_lightning.datasets.base import Sample
from fre_lightning.errors import DatasetError

_KINDS = "bmp gif jfif jp2 jpeg jpg npy pgm png pnm ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())

_SYSTEM_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found"})
"""What network drives, archives and file systems add; never a kind of defect."""


def is_image_name(path: str | Path) -> bool:
    """Whether the name of a file ends like an image's."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def walk_images(folder: str | Path, ancestors: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yield the image files in a folder and below, sorted by path; their list is never in memory.

    Args:
        folder: The paths begin with it, as given. Links are followed unless they lead back to it,
            or to a folder that holds it.
        ancestors: The folders, without links, that this one was reached through.

    Raises:
        DatasetError: If a folder cannot be listed.
    """
    real = Path(folder).resolve()
    if any(ancestor.is_relative_to(real) for ancestor in ancestors):
        return
    for path, is_folder in _entries(folder):
        if is_folder:
            yield from walk_images(path, (*ancestors, real))
        elif is_image_name(path):
            yield path


def is_listed(path: str | Path, folder: str | Path) -> bool:
    """Whether no part of a path within a folder is hidden or of the system's own."""
    return not any(map(_is_ignored, Path(path).relative_to(folder).parts))


def list_images_below(folder: Path) -> list[Path]:
    """The image files in a folder and below, sorted; none if the folder is missing."""
    return [path for path in map(Path, walk_images(folder)) if path.is_file()]


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted; none if the folder is missing."""
    paths = [Path(path) for path, _ in _entries(folder) if is_image_name(path)]
    return [path for path in paths if path.is_file()]


def sub_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted; none if the folder is missing."""
    real = folder.resolve()
    paths = [Path(path) for path, is_folder in _entries(folder) if is_folder]
    return [path for path in paths if not real.is_relative_to(path.resolve())]


def find_left_out(images: Iterable[Path], root: Path) -> tuple[set[str], Counter[str]]:
    """What is not looked at: folders below the root, and files of other kinds beside images.

    Returns:
        The names of the folders; the number of files by ending.
    """
    image_dirs = {path.parent for path in images}
    above = {folder for path in image_dirs for folder in path.parents if root in folder.parents}
    folders, files = set[str](), Counter[str]()
    for folder in image_dirs | above | {root}:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if _is_ignored(entry.name):
                        folders.add(entry.name)
                elif folder in image_dirs and not (
                    is_image_name(entry.name) or entry.name[0] == "."
                ):
                    files[Path(entry.name).suffix.lower() or "no ending"] += 1
    return folders, files


def _is_ignored(name: str) -> bool:
    return name[0] == "." or name in _SYSTEM_FOLDERS


def _entries(folder: str | Path) -> list[tuple[str, bool]]:
    """The paths in a folder, each with whether it is a folder itself."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e.path, Path(e).is_dir()) for e in entries if not _is_ignored(e.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        msg = f"The folder {folder} cannot be listed ({error.strerror})."
        raise DatasetError(msg) from error


def attach_masks(samples: Sequence[Sample], mask_dirs: Sequence[Path], root: Path) -> list[Sample]:
    """Give each defective sample its masks: `<stem>_mask.*`, else `<stem>.*`.

    Several are `<stem>_mask1.*`, `<stem>_mask2.*` and so on, or all images in a folder `<stem>`.

    Args:
        samples: The samples; good ones stay as they are.
        mask_dirs: The folder of each sample's masks.
        root: The folder that holds all masks of the dataset.

    Raises:
        DatasetError: If one has none: pixel metrics of only some defects would mislead.
    """
    masks = {folder: _list_all_masks(folder) for folder in set(mask_dirs)}
    return [
        replace(sample, mask_paths=_find_masks(sample.path, masks[folder], folder, root))
        if sample.label
        else sample
        for sample, folder in zip(samples, mask_dirs, strict=True)
    ]


def list_masks(folder: Path, ending: str) -> dict[str, tuple[Path, ...]]:
    """The masks in a folder by the stem of their image: `<stem><ending>.*`, or numbered if several.

    Args:
        folder: Where they are; other images may lie there, too.
        ending: What follows the stem, such as `_mask`.
    """
    masks = defaultdict[str, tuple[Path, ...]](tuple)
    for path in list_images(folder):
        stem, found, number = path.stem.rpartition(ending)
        if found and (number.isdigit() or not number):
            masks[stem] += (path,)
    return dict(masks)


def _list_all_masks(folder: Path) -> dict[str, tuple[Path, ...]]:
    nested = {path.name: tuple(list_images(path)) for path in sub_folders(folder)}
    bare = {path.stem: (path,) for path in list_images(folder)}
    return nested | bare | list_masks(folder, "_mask")


def _find_masks(
    path: Path, masks: dict[str, tuple[Path, ...]], folder: Path, root: Path
) -> tuple[Path, ...]:
    found = masks.get(path.stem, ())
    if not found or path in found:  # the masks may lie beside their images
        files = {file for files in masks.values() for file in files}
        msg = (
            f"The defective image {path} has no mask: among the {len(files)} masks found in "
            f"{folder} there is neither {path.stem}_mask.png nor {path.stem}.png. Add the mask, "
            f"or move {root} away to run without pixel metrics."
        )
        raise DatasetError(msg)
    return found
