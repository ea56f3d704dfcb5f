"""The gallery of a report: its test images, hardest first, and their pictures."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from fre_lightning.pictures.embedding import data_uri
from fre_lightning.pictures.thumbnails import (
    MAX_PICTURES,
    draw_from_dataset,
    gallery_order,
    is_mistake,
    thumbnail_path,
)
from fre_lightning.results.run_folder import THUMBNAILS
from fre_lightning.results.stored_run import ScoredImage, StoredRun

_MOVABLE = ("moved", "mistake")  # filters whose pictures depend on the threshold


class _Picture(NamedTuple):
    """A test image in the gallery."""

    image: ScoredImage
    uri: str | None  # of its picture; None if there is none
    type_index: int  # of its defect type among the run's
    mistake: str  # `false alarm`, `missed` or nothing


def make_gallery(run: StoredRun, n_runs: int) -> dict[str, Any]:
    """The hardest test images of one of `n_runs` runs on a page.

    Returns:
        `pictures`, and `filters`: key, title and number of pictures of each button.
    """
    types = list(dict.fromkeys(image.defect_type for image in run.images))
    labels, scores = [i.label for i in run.images], [i.score for i in run.images]
    order = gallery_order(labels, scores, run.threshold)[: math.ceil(MAX_PICTURES / n_runs)]
    encoded = _read_thumbnails(run, order)
    pictures = []
    for index in order:
        image = run.images[index]
        is_wrong = is_mistake(image.label, image.score, run.threshold)
        mistake = ("false alarm", "missed")[image.label] if is_wrong else ""
        uri = data_uri("image/webp", encoded[index]) if index in encoded else None
        pictures.append(_Picture(image, uri, types.index(image.defect_type), mistake))
    n_defective = sum(picture.image.label for picture in pictures)
    counts = Counter(picture.type_index for picture in pictures if picture.image.label)
    kinds = [(f"type-{i}", types[i], n) for i, n in sorted(counts.items())]
    filters = [
        ("moved", "Changed sides", 0),
        ("mistake", "Mistakes", sum(bool(picture.mistake) for picture in pictures)),
        ("good", "Good", len(pictures) - n_defective),
        ("defective", "Defective", n_defective),
        *(kinds if len(kinds) > 1 else []),
    ]
    filters = [("all", "All", len(pictures)), *(f for f in filters if f[2] or f[0] in _MOVABLE)]
    return {"pictures": pictures, "filters": filters}


def _read_thumbnails(run: StoredRun, order: Sequence[int]) -> dict[int, bytes]:
    """The run's stored pictures; missing ones are drawn from the dataset, if it is there."""
    stored = {index: thumbnail_path(run.folder / THUMBNAILS, index) for index in order}
    encoded = {index: path.read_bytes() for index, path in stored.items() if path.is_file()}
    missing = {index: run.images[index].path for index in order if index not in encoded}
    if missing:
        encoded |= draw_from_dataset(run.config, missing, run.intensity)
    return encoded
