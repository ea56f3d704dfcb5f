"""Images as programs have them, as a dataset that runs read: a folder or a table on disk."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from PIL import Image
from torch import Tensor

from fre_lightning.errors import CacheError, DatasetError
from fre_lightning.files import mark_used, open_text
from fre_lightning.images.prepare import ImageLike, values_of


class ImageDataset(Protocol):
    """A torch dataset: of images, or of tuples or dictionaries that hold one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


Images = ImageLike | Iterable[ImageLike] | ImageDataset
"""A folder, paths, Pillow images, arrays `(H, W, 3)`, tensors `(3, H, W)`, or a torch dataset."""


def dataset_of(images: Images, output_dir: Path, cache_dir: Path) -> dict[str, Any]:
    """The settings of the dataset that good images are read from.

    Args:
        images: A folder is read as the command line reads it, paths as a table of them. Others are
            stored in the cache, as the values that they have; of tuples the first, of dictionaries
            the item `image`, and labels are not looked at: all are good.
        output_dir: Where a table is written.
        cache_dir: Where images from memory are kept, under the name of their content.

    Raises:
        DatasetError: If there are none.
        CacheError: If they cannot be stored.
    """
    if isinstance(images, str | os.PathLike):
        path = Path(images).expanduser()
        if not path.is_file():
            return {"dataset": "folder", "dataset.root": path}
        images = [path]
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, np.ndarray | Tensor) and images.ndim < 4:
        kind, shape = type(images).__name__, tuple(images.shape)
        msg = f"A {kind} of shape {shape} is not several images. Give a list of images."
        raise DatasetError(msg)
    if isinstance(images, Sequence) and all(isinstance(i, str | os.PathLike) for i in images):
        return _table([Path(path).expanduser() for path in images], output_dir)
    folder = _store(_items(images), cache_dir / "images")
    return {"dataset": "folder", "dataset.root": folder, "dataset.category": "images"}


def _table(paths: Sequence[Path], output_dir: Path) -> dict[str, Any]:
    if not paths:
        raise _no_images()
    missing = [path for path in paths if not path.is_file()]
    if missing:
        msg = f"{len(missing)} of {len(paths)} images are no files, for example {missing[0]}."
        raise DatasetError(msg)
    whole = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - links stay
    table = output_dir / "images.csv"
    with open_text(table, "w") as stream:
        rows = ('"' + path.replace('"', '""') + '",good\n' for path in whole)
        stream.writelines(["path,label\n", *rows])
    return {
        "dataset": "csv",
        "dataset.root": os.path.commonpath([os.path.dirname(path) for path in whole]),  # noqa: PTH120
        "dataset.table": table.absolute(),
        "dataset.split": None,
        "dataset.mask": None,
    }


def _items(images: Any) -> Iterator[ImageLike]:
    """The images of an iterable, or of a torch dataset, which need not be one."""
    if not hasattr(images, "__iter__") and not hasattr(images, "__getitem__"):
        msg = f"Images are a folder, a list or a dataset of them, not {type(images)}."
        raise TypeError(msg)
    items = images if isinstance(images, Iterable) else (images[i] for i in range(len(images)))
    for item in items:
        if isinstance(item, Mapping):
            yield item["image"]
        else:
            yield item[0] if isinstance(item, tuple | list) else item


def _store(images: Iterable[ImageLike], folder: Path) -> Path:
    """Write images from memory, unless their like is there: so files, and features, stay known."""
    digest, n_images = hashlib.sha256(), 0
    temporary = folder / f".{uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        for number, image in enumerate(images):
            values = values_of(image)
            digest.update(f"{values.shape} {values.dtype}".encode() + values.tobytes())
            np.save(temporary / f"{number:06d}.npy", values)
            n_images += 1
        if not n_images:
            raise _no_images()
        target = folder / digest.hexdigest()[:16]
        if not target.is_dir():
            temporary.rename(target)
        mark_used(target)
    except OSError as error:
        msg = f"Images cannot be kept in {folder} ({error}). Set paths.cache_dir to another folder."
        raise CacheError(msg) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _no_images() -> DatasetError:
    return DatasetError("There are no images to learn from. Give a folder, or at least one image.")
