"""The gallery of a report: its test images, hardest first, and their pictures."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

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


class Picture(NamedTuple):
    """A test image in the gallery.

    Attributes:
        image: Its path, label, defect type and score.
        uri: Its picture; None if there is none.
        type_index: Index of its defect type among the run's.
        mistake: `false alarm`, `missed` or nothing.
    """

    image: ScoredImage
    uri: str | None
    type_index: int
    mistake: str


def pictures_per_run(n_runs: int) -> int:
    """The number of pictures of each run on a page of several runs."""
    return math.ceil(MAX_PICTURES / max(1, n_runs))


def make_pictures(run: StoredRun, types: Sequence[str], n_pictures: int) -> list[Picture]:
    """The pictures of the hardest test images of a run."""
    labels, scores = [i.label for i in run.images], [i.score for i in run.images]
    order = gallery_order(labels, scores, run.threshold)[:n_pictures]
    encoded = _read_thumbnails(run, order)
    pictures = []
    for index in order:
        image = run.images[index]
        mistake = ""
        if is_mistake(image.label, image.score, run.threshold):
            mistake = "missed" if image.label else "false alarm"
        uri = data_uri("image/webp", encoded[index]) if index in encoded else None
        pictures.append(Picture(image, uri, types.index(image.defect_type), mistake))
    return pictures


def make_filters(pictures: Sequence[Picture], types: Sequence[str]) -> list[tuple[str, str, int]]:
    """Key, title and number of pictures of each button."""
    n_mistakes = sum(bool(picture.mistake) for picture in pictures)
    n_defective = sum(picture.image.label for picture in pictures)
    counts = Counter(picture.type_index for picture in pictures if picture.image.label)
    kinds = [(f"type-{i}", types[i], n) for i, n in sorted(counts.items())]
    filters = [
        ("mistake", "Mistakes", n_mistakes),
        ("good", "Good", len(pictures) - n_defective),
        ("defective", "Defective", n_defective),
        *(kinds if len(kinds) > 1 else []),
    ]
    return [("all", "All", len(pictures)), *(f for f in filters if f[2])]


def _read_thumbnails(run: StoredRun, order: Sequence[int]) -> dict[int, bytes]:
    """The run's stored pictures; missing ones are drawn from the dataset, if it is there."""
    stored = {index: thumbnail_path(run.folder / THUMBNAILS, index) for index in order}
    encoded = {index: path.read_bytes() for index, path in stored.items() if path.is_file()}
    missing = {index: run.images[index].path for index in order if index not in encoded}
    if missing:
        encoded |= draw_from_dataset(run.config, missing)
    return encoded
