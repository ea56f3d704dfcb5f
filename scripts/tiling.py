"""Large images in tiles, against the same images squashed to one square.

python scripts/tiling.py --grid 4 16
python scripts/tiling.py --help

Draws rolled sheets with defects of a few pixels, runs the program on both, each in a process of its
own, and prints AUROCs, seconds and peak memory. Overrides of the program may follow the options.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from tqdm import tqdm

N_TRAIN, N_GOOD, N_DEFECTIVE = 20, 12, 24
COLUMNS = ("image_auroc", "pixel_auroc", "pixel_aupro", "seconds", "peak_mb")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=[2000, 8000], help="height and width")
    parser.add_argument("--defect", type=int, default=10, help="diameter of defects in pixels")
    parser.add_argument("--grid", type=int, nargs=2, default=[4, 16], help="rows and columns")
    parser.add_argument("--model", default="scattering")
    parser.add_argument("--data-dir", type=Path, default=Path("data/sheets"))
    parser.add_argument("overrides", nargs="*", help="as of python -m fre_lightning")
    return parser.parse_intermixed_args()


def draw_sheet(size: Sequence[int], diameter: int, seed: int) -> tuple[Image.Image, Image.Image]:
    """A sheet with rolling marks, grain and uneven light, and the mask of its defect, if any."""
    height, width = size
    rng = np.random.default_rng(seed)
    light = gaussian_filter(rng.standard_normal((height // 50, width // 50)), 6) * 60
    marks = gaussian_filter(rng.standard_normal(height), 3)[:, None] * 12
    grain = gaussian_filter(rng.standard_normal((height, width)).astype(np.float32), 0.8) * 14
    coarse = Image.fromarray(light.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    levels = 128 + np.asarray(coarse) + marks + grain
    mask = np.zeros((height, width), np.uint8)
    if diameter:
        row, column = (rng.integers(diameter, side - diameter) for side in (height, width))
        y, x = np.ogrid[:height, :width]
        spot = (y - row) ** 2 + (x - column) ** 2 <= (diameter / 2) ** 2
        levels[spot] += rng.choice([-1, 1]) * 60
        mask[spot] = 255
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)), Image.fromarray(mask)


def draw_dataset(folder: Path, arguments: argparse.Namespace) -> None:
    """The dataset in the layout that `dataset=mvtec` reads, unless it is there."""
    parts = [("train/good", N_TRAIN, 0), ("test/good", N_GOOD, 0)]
    parts += [("test/spot", N_DEFECTIVE, arguments.defect)]
    jobs = [(split, i, diameter) for split, n, diameter in parts for i in range(n)]
    for number, (split, i, diameter) in enumerate(tqdm(jobs, "Sheets")):
        path = folder / split / f"{i:03d}.png"
        if path.is_file():
            continue
        image, mask = draw_sheet(arguments.size, diameter, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        if diameter:
            mask_path = folder / "ground_truth/spot" / f"{i:03d}_mask.png"
            mask_path.parent.mkdir(parents=True, exist_ok=True)
            mask.save(mask_path)
        image.save(path, compress_level=1)


def run(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, float]:
    """One run of the program with an empty cache: its metrics, seconds and peak memory."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "fre_lightning", f"model={arguments.model}"]
        command += ["dataset=mvtec", f"dataset.root={arguments.data_dir.absolute()}"]
        command += ["dataset.category=sheet", "report=false", "logger=none"]
        command += ["metrics.size=mask"]  # the defects are gone from a mask of the square's size
        command += [f"paths.cache_dir={scratch}/cache", f"hydra.run.dir={scratch}/run"]
        start = time.perf_counter()
        process = psutil.Popen([*command, *overrides, *arguments.overrides])
        peak = _watch(process)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        metrics: dict[str, float] = json.loads(Path(scratch, "run/metrics.json").read_text())
        return metrics | {"seconds": time.perf_counter() - start, "peak_mb": peak}


def _watch(process: psutil.Popen) -> float:
    """Wait for a process; its largest resident memory in MB."""
    peak = 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss / 2**20)
        time.sleep(0.05)
    return peak


def main() -> None:
    """Draw, run both, and print a table."""
    arguments = parse_arguments()
    draw_dataset(arguments.data_dir / "sheet", arguments)
    grid = f"tiling.grid=[{arguments.grid[0]},{arguments.grid[1]}]"
    variants = {
        "squashed": [],
        "tiled, one subspace": [grid, "tiling.overlap=0.125", "tiling.shared=true"],
        "tiled, one for each tile": [grid, "tiling.overlap=0.125"],
    }
    height, width = arguments.size
    table = Table("", *COLUMNS, title=f"{height}x{width}, defects of {arguments.defect} pixels")
    for name, overrides in variants.items():
        metrics = run(arguments, overrides)
        table.add_row(name, *(f"{metrics[column]:.4g}" for column in COLUMNS))
    Console().print(table)


if __name__ == "__main__":
    main()
