"""Which test images a report shows, in which order, and their pictures."""

import math
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
from fre_lightning.results.stored_run import StoredRun


class Picture(NamedTuple):
    """A test image in the gallery.

    Attributes:
        uri: Its picture; None if there is none.
        path: Of the image, relative to the dataset.
        defect_type: Its name.
        type_index: Its number among the run's.
        label: 1 for defective.
        score: The image score.
        mistake: `false alarm`, `missed` or nothing.
    """

    uri: str | None
    path: str
    defect_type: str
    type_index: int
    label: int
    score: float
    mistake: str


def pictures_per_run(n_runs: int) -> int:
    """How many pictures of each run a page of several runs shows."""
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
        number = types.index(image.defect_type)
        pictures.append(
            Picture(uri, image.path, image.defect_type, number, image.label, image.score, mistake)
        )
    return pictures


def make_filters(pictures: Sequence[Picture], types: Sequence[str]) -> list[tuple[str, str, int]]:
    """Key, title and number of pictures of each button."""
    n_mistakes = sum(bool(picture.mistake) for picture in pictures)
    n_defective = sum(picture.label for picture in pictures)
    kinds = [
        (f"type-{i}", name, sum(picture.type_index == i for picture in pictures))
        for i, name in enumerate(types)
        if any(picture.type_index == i and picture.label for picture in pictures)
    ]
    filters = [
        ("all", "All", len(pictures)),
        ("mistake", "Mistakes", n_mistakes),
        ("good", "Good", len(pictures) - n_defective),
        ("defective", "Defective", n_defective),
        *(kinds if len(kinds) > 1 else []),
    ]
    return [filters[0], *(f for f in filters[1:] if f[2])]


def _read_thumbnails(run: StoredRun, order: Sequence[int]) -> dict[int, bytes]:
    """The pictures that the run stored; others are drawn from the dataset, if it is there."""
    stored = {index: thumbnail_path(run.folder / THUMBNAILS, index) for index in order}
    encoded = {index: path.read_bytes() for index, path in stored.items() if path.is_file()}
    missing = {index: run.images[index].path for index in order if index not in encoded}
    if missing:
        encoded |= draw_from_dataset(run.config, missing)
    return encoded
