"""Near copies: test images that show the very thing that a training image shows.

Some datasets hold several photographs of one object. Where one of them is good and another
defective, the better a method learns what is good, the more it misses.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.detector.model import FREModel
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.similarity import (
    MOST_COMPARED,
    directions,
    near_copy_bound,
    nearest,
)
from fre_lightning.files import relative_path, visible
from fre_lightning.metrics.curves import auroc, count

log = logging.getLogger(__name__)

_MOST_LISTED = 20


def find_twins(
    model: FREModel,
    train: CachedRows,
    test: CachedRows,
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    scores: Tensor,
    root: Path,
) -> dict[str, Any]:
    """Find near copies among training images, and of them among test images.

    Args:
        model: Fitted.
        train: The training features of its last layer.
        test: The test features of that layer.
        samples: The whole training and test splits.
        scores: `(N,)` of the test images that have features.
        root: The folder that names are relative to.

    Returns:
        For `metrics.json`: `cosine`, from which images count as near copies; the numbers `train`,
        `test_good` and `test_defective` of those that have one among the training images; `twins`,
        the defective ones and theirs, most similar first; and `image_auroc_without_twins`. Empty
        if the training images are fewer than 3 or too many to compare.
    """
    n_train = len(train.indices)
    if not 3 <= n_train <= MOST_COMPARED:
        return {}
    learnt, judged = directions(*(model.standardized(rows) for rows in (train, test)))
    bound = near_copy_bound(learnt)
    within, _ = nearest(learnt, learnt, is_same=True)
    cosines, indices = nearest(judged, learnt)
    tested = [samples[1][index] for index in test.indices]
    labels = torch.tensor([sample.label for sample in tested])
    is_near = cosines >= bound
    is_twin = is_near & (labels == 1)
    order = [i for i in cosines.argsort(descending=True).tolist() if is_twin[i]]
    found: dict[str, Any] = {
        "cosine": round(bound, 3),
        "train": int((within >= bound).sum()),
        "test_good": int((is_near & (labels == 0)).sum()),
        "test_defective": len(order),
        "twins": [
            [
                *(
                    visible(relative_path(sample.path, root).as_posix())
                    for sample in (tested[i], samples[0][train.indices[int(indices[i])]])
                ),
                round(float(cosines[i]), 3),
            ]
            for i in order[:_MOST_LISTED]
        ],
    }
    if order and not bool(labels.all()):
        without = auroc(*count(scores[~is_twin], labels[~is_twin]))
        if not bool(without.isnan()):
            found["image_auroc_without_twins"] = float(without)
    return found


def log_twins(found: dict[str, Any], n_defective: int) -> None:
    """Say what `find_twins` found, if anything."""
    if found.get("train"):
        log.info("%d training images are near copies of others", found["train"])
    if found.get("test_defective"):
        test, train, cosine = found["twins"][0]
        log.warning(
            "%d of the %d defective images show what a good training image shows, for example %s "
            "and %s (cosine %.2f). Without them, image AUROC is %s; see dataset_health in "
            "metrics.json.",
            found["test_defective"],
            n_defective,
            test,
            train,
            cosine,
            _rounded(found.get("image_auroc_without_twins")),
        )


def _rounded(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
