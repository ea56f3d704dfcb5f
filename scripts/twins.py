"""Which test images show the very object that a good training image shows, and what they cost.

python scripts/twins.py model=resnet18 dataset=mtd dataset.root=DIR
python scripts/twins.py --scores outputs/DATE/TIME/scores.csv dataset=mtd dataset.root=DIR

Some datasets hold several photographs of one object. Where one of them is labelled good and
another defective, the better a method learns what is good, the more it misses. Two images count as
of one object if their features, less the mean good image's, point the same way. What comes after
the options are overrides as of `python -m fre_lightning`. With a run's scores, it prints the image
AUROC with and without defective images that have a twin.
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

import torch
from curves import configure, load_splits
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.datasets import Sample
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.files import open_text
from fre_lightning.metrics.curves import auroc, count


class Twin(NamedTuple):
    """A test image and the training image it resembles most."""

    test: Sample
    train: Sample
    cosine: float


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--least", type=float, default=0.6, help="cosine from which two images are twins"
    )
    parser.add_argument("--scores", type=Path, help="scores.csv of a run on the same split")
    parser.add_argument("overrides", nargs="*", help="as of python -m fre_lightning")
    return parser.parse_intermixed_args()


def find_nearest(overrides: list[str]) -> list[Twin]:
    """For each test image its nearest training image, by the model's first layer."""
    datamodule, *splits = load_splits(configure(overrides))
    train, test = (layers[0] for layers in splits)
    cosines, nearest = nearest_rows(
        *(FeatureMatrix(rows.shards).block(slice(None)) for rows in (train, test))
    )
    return [
        Twin(datamodule.splits.test[i], datamodule.splits.train[train.indices[j]], float(cosine))
        for i, j, cosine in zip(test.indices, nearest.tolist(), cosines, strict=True)
    ]


def nearest_rows(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and indices `(n,)` of the rows of train `(N, D)` that are next to test's `(n, D)`."""
    mean = train.mean(dim=0)
    directions = [F.normalize(rows - mean, dim=1) for rows in (test, train)]
    nearest = (directions[0] @ directions[1].T).max(dim=1)
    return nearest.values, nearest.indices


def compare_auroc(scores_path: Path, left_out: set[str]) -> tuple[float, float]:
    """Image AUROC of all that a run scored, and without files of some names."""
    with open_text(scores_path) as stream:
        rows = list(csv.DictReader(stream))
    kept = [row for row in rows if Path(row["path"]).name not in left_out]
    values = []
    for chosen in (rows, kept):
        scores = torch.tensor([float(row["score"]) for row in chosen])
        labels = torch.tensor([int(row["label"]) for row in chosen])
        values.append(float(auroc(*count(scores, labels))))
    return values[0], values[1]


def main() -> None:
    """Print the defective images that have a twin among the good ones."""
    arguments = parse_arguments()
    nearest = find_nearest(arguments.overrides)
    twins = [twin for twin in nearest if twin.test.label and twin.cosine >= arguments.least]
    table = Table("defective", "type", "training image, good", "cosine")
    for test, train, cosine in sorted(twins, key=lambda twin: -twin.cosine):
        table.add_row(test.path.name, test.defect_type, train.path.name, f"{cosine:.2f}")
    console = Console()
    console.print(table)
    n_defective = sum(twin.test.label for twin in nearest)
    print(f"{len(twins)} of {n_defective} defective images have a twin among good training images.")
    if arguments.scores:
        whole, without = compare_auroc(arguments.scores, {twin.test.path.name for twin in twins})
        print(f"image AUROC {whole:.4f}, without them {without:.4f}")


if __name__ == "__main__":
    main()
