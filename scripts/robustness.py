"""What codecs, cameras and fixtures do to a detector: good parts stopped, and image AUROC.

    python scripts/robustness.py RUN GOOD [DEFECTIVE] [--json FILE]

Each image of GOOD, parts that the detector has not learnt from, is judged as it is and changed in
each of the ways of `fre_lightning.images.perturbations`; with DEFECTIVE, a folder of defective
parts, they are changed likewise, and the AUROC says whether the two are still told apart.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

import fre_lightning
from fre_lightning.datasets.listing import list_images_below
from fre_lightning.detector import Detector
from fre_lightning.images.perturbations import PERTURBATIONS, Perturbation
from fre_lightning.images.reading import read_levels
from fre_lightning.metrics.curves import auroc, count


def main() -> None:
    """Judge, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="a run's folder or checkpoint")
    parser.add_argument("good", type=Path, help="a folder of good parts")
    parser.add_argument("defective", type=Path, nargs="?", help="a folder of defective parts")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    detector = fre_lightning.load(arguments.run)
    if detector.threshold is None:
        parser.error(f"{arguments.run} has no threshold: it was fitted on too few images.")
    folders = [folder for folder in (arguments.good, arguments.defective) if folder]
    paths = [list_images_below(folder) for folder in folders]
    rows = {
        name: judge(detector, paths, change)
        for name, change in tqdm({"as they are": None, **PERTURBATIONS}.items(), disable=None)
    }
    table = Table("", "good parts stopped", "defective parts found", "image AUROC")
    for name, row in rows.items():
        table.add_row(name, *("" if v is None else v for v in map(_text, row.values())))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def judge(
    detector: Detector, paths: Sequence[Sequence[Path]], change: Perturbation | None
) -> dict[str, Any]:
    """The shares of good and of defective parts above the threshold, and the image AUROC."""
    scores = [_scores(detector, folder, change) for folder in paths]
    threshold = detector.threshold or 0.0
    stopped, *found = [float((s > threshold).double().mean()) for s in scores]
    labels = torch.cat([torch.full((len(s),), i) for i, s in enumerate(scores)])
    value = float(auroc(*count(torch.cat(scores), labels))) if found else None
    return {"stopped": stopped, "found": found[0] if found else None, "image_auroc": value}


def _scores(detector: Detector, paths: Sequence[Path], change: Perturbation | None) -> Tensor:
    rng = np.random.default_rng(0)
    images: Any = paths
    if change is not None:
        images = (change(read_levels(path, detector.intensity), rng) for path in paths)
    return torch.tensor([result.score for result in detector.detect_batch(images)])


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
