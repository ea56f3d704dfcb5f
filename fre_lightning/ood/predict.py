"""Judge images by a run: `python -m fre_lightning.ood.predict RUN FOLDER --output FILE`."""

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fre_lightning.datasets.archives import say
from fre_lightning.datasets.listing import list_images_below
from fre_lightning.errors import DatasetError, OutputError, exit_code_of
from fre_lightning.files import make_output_dir, open_text, print_any_name
from fre_lightning.ood.detector import OODResult
from fre_lightning.ood.loading import load_ood
from fre_lightning.progress import progress

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
    parser.add_argument(
        "--program", metavar="FILE", help="the run's classifier, if it is a program"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:1; else a GPU if there is one")
    args = parser.parse_args(argv)
    return exit_code_of(lambda: predict(args))


def predict(args: argparse.Namespace) -> None:
    """Write a row of each image as soon as it is judged; say how many of each kind there are.

    Raises:
        FREError: If there are no images, or the run or the table is none.
    """
    paths = list_images_below(args.folder.expanduser())
    if not paths:
        msg = f"There are no images in {args.folder}. Give a folder of images."
        raise DatasetError(msg)
    rate, output = args.false_alarm_rate, args.output.expanduser()
    detector = load_ood(
        args.run,
        device=args.device,
        false_alarm_rate=rate,
        method=args.method,
        program=args.program,
    )
    make_output_dir(os.fspath(output.parent))
    counts = Counter[str]()
    try:
        with open_text(output, "w") as stream:
            table = csv.writer(stream)
            table.writerow(_HEADER)
            for image, _, result, error in progress(detector.stream(paths), "Judging", len(paths)):
                if result is None:
                    table.writerow([image, *[""] * 5, error])
                    counts["unreadable"] += 1
                else:
                    table.writerow([image, *_texts(result), ""])
                    counts[_WORDS[result.is_unknown]] += 1
                stream.flush()
    except OSError as error:
        msg = f"{output} cannot be written ({error}). Choose another --output."
        raise OutputError(msg) from error
    say(", ".join(f"{n} {word}" for word, n in counts.items()) + f" images in {args.output}")


def _texts(result: OODResult) -> list[str]:
    texts = [result.label, f"{result.confidence:.6g}", f"{result.score:.9g}"]
    if result.p_value is None:
        return [*texts, "", ""]
    return [*texts, f"{result.p_value:.6g}", str(result.is_unknown).lower()]


if __name__ == "__main__":
    sys.exit(main())
