"""What codecs, cameras and fixtures do to a detector: good parts stopped, and image AUROC.

    python scripts/robustness.py RUN GOOD [DEFECTIVE] [--json FILE]

As `robustness=true` does for the test images of a run, but for any folders: GOOD has parts that the
detector has not learnt from, and with DEFECTIVE, a folder of defective parts, the AUROC says
whether the two are still told apart.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fre_lightning
from fre_lightning.datasets import Sample
from fre_lightning.datasets.listing import list_images_below
from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.experiment.robustness import measure


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
    samples = [Sample(path) for path in list_images_below(arguments.good)]
    if arguments.defective:
        samples += [Sample(path, "defective") for path in list_images_below(arguments.defective)]
    model = restore_model(read_checkpoint(arguments.run)).to(detector.device)
    rows = measure(model, samples, detector.threshold, detector.n_threads)
    table = Table("", "good parts stopped", "defective parts found", "image AUROC")
    for name, row in rows.items():
        table.add_row(name, *("" if value is None else f"{value:.3f}" for value in row.values()))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
