"""Judge images by a run: `python -m fre_lightning.ood.predict RUN FOLDER --output FILE`."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from fre_lightning.datasets.archives import say
from fre_lightning.datasets.listing import list_images_below
from fre_lightning.errors import DatasetError, FREError, Stops, UnreadableImageError
from fre_lightning.files import make_output_dir, print_any_name
from fre_lightning.ood.detector import OODResult
from fre_lightning.ood.loading import load_ood
from fre_lightning.results.run_folder import write_csv

_HEADER = ("path", "class", "confidence", "score", "p_value", "is_unknown", "error")

_WORDS = {None: "undecided", True: "unknown", False: "known"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, or 2 after an error that a message explains.
    """
    print_any_name()
    parser = argparse.ArgumentParser(
        prog="predict", description="Name the class of each image, and say whether it is known."
    )
    parser.add_argument("run", help="a run's folder, or its model.ckpt")
    parser.add_argument("folder", type=Path, help="images, with all that is below")
    parser.add_argument("--output", type=Path, default=Path("predictions.csv"), metavar="FILE")
    parser.add_argument("--method", help="the method that decides, by its key; else the run's")
    parser.add_argument("--false-alarm-rate", type=float, metavar="RATE", help="else the run's")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; else a GPU if there is one")
    args = parser.parse_args(argv)
    try:
        with Stops(in_order=True):
            counts = predict(args)
    except FREError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    say(", ".join(f"{n} {word}" for word, n in counts.items()) + f" images in {args.output}")
    return 0


def predict(args: argparse.Namespace) -> Counter[str]:
    """Write the table; the number of images by decision.

    Raises:
        FREError: If there are no images, or the run or the table is none.
    """
    paths = list_images_below(args.folder.expanduser())
    if not paths:
        msg = f"There are no images in {args.folder}. Give a folder of images."
        raise DatasetError(msg)
    rate = args.false_alarm_rate
    detector = load_ood(args.run, device=args.device, false_alarm_rate=rate, method=args.method)
    make_output_dir(os.fspath(args.output.expanduser().parent))
    rows, counts = [], Counter[str]()
    for image, result in tqdm(detector.stream(paths), "Judging", len(paths), disable=None):
        path = str(image)
        if isinstance(result, UnreadableImageError):
            rows.append([path, *[""] * 5, str(result)])
            counts["unreadable"] += 1
        else:
            rows.append([path, *_texts(result), ""])
            counts[_WORDS[result.is_unknown]] += 1
    write_csv(args.output.expanduser(), _HEADER, rows)
    return counts


def _texts(result: OODResult) -> list[str]:
    texts = [result.label, f"{result.confidence:.6g}", f"{result.score:.9g}"]
    if result.p_value is None:
        return [*texts, "", ""]
    return [*texts, f"{result.p_value:.6g}", str(result.is_unknown).lower()]


if __name__ == "__main__":
    sys.exit(main())
