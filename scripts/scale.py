"""How time and memory of a fit grow with the images, exact and randomised.

python scripts/fit_scale.py --images 1250 5000 20000
python scripts/fit_scale.py --help

Draws features whose variances fall as (i + 10)^-decay: with 1.75, a thousand axes have 0.97 of the
variance; with 1.5, as those of ResNet18's features of crops of magnetic tiles, several thousand.
Writes them to disk, fits PCA at 0.97 of the variance and the held-out maps of ten folds, each in a
process of its own, and prints seconds (and seconds of processors, which other programs do not
change), peak memory, and how far scores are from the exact ones.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.fft import dct  # type: ignore[import-untyped]

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.metrics.curves import auroc, count
from fre_lightning.reducers.axes import choose_rank
from fre_lightning.reducers.cross_fit import draw_folds, held_out_errors
from fre_lightning.reducers.gram import GramSubspace
from fre_lightning.reducers.krylov import KrylovSubspace
from fre_lightning.reducers.scatter import ScatterSubspace
from fre_lightning.reducers.subspace import Subspace

SHARE = 0.97
N_CELLS = 49  # a map of 7 x 7
N_TEST = 400  # good ones, and as many with a defect in one cell
ROWS_PER_SHARD = 500
CPU = torch.device("cpu")
SOLVERS: dict[str, Callable[[FeatureMatrix], Subspace]] = {
    "gram": lambda features: GramSubspace.of(features, CPU),
    "scatter": lambda features: ScatterSubspace.of(features, CPU),
    "krylov": lambda features: KrylovSubspace.of(features, CPU, SHARE),
}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1250, 5000, 20000])
    parser.add_argument("--features", type=int, default=512 * N_CELLS)
    parser.add_argument("--decay", type=float, default=1.75, help="exponent of the variances")
    parser.add_argument("--max-exact", type=int, default=5000, help="of images or features")
    parser.add_argument("--fit", nargs=2, metavar=("SOLVER", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


def draw(n: int, n_features: int, decay: float, seed: int) -> NDArray[np.float32]:
    """Features `(n, D)`: independent values of the spectrum, mixed by an orthogonal transform."""
    rng = np.random.default_rng(seed)
    variances = (np.arange(n_features) + 11) ** -decay
    values = rng.standard_normal((n, n_features), dtype=np.float32)
    values *= np.sqrt(variances / variances.sum() * 100).astype(np.float32)
    values *= np.random.default_rng(0).choice([-1, 1], n_features).astype(np.float32)
    mixed: NDArray[np.float32] = dct(values, norm="ortho", axis=1, overwrite_x=True)
    return mixed + np.float32(0.5)


def draw_test(n_features: int, decay: float) -> NDArray[np.float32]:
    """Good images, then defective ones."""
    images = draw(2 * N_TEST, n_features, decay, seed=1)
    cells = np.arange(n_features) % N_CELLS
    noise = np.random.default_rng(2).standard_normal(images.shape, dtype=np.float32)
    defects = np.arange(N_TEST)[:, None] % N_CELLS == cells
    images[N_TEST:] += defects * noise[N_TEST:] * 0.06
    return images


def fit(solver: str, folder: Path, decay: float) -> None:
    """Fit, score test and held-out images, and store what came out; alone in its process."""
    shards = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("shard-*.npy"))]
    features = FeatureMatrix(shards)
    start = time.perf_counter()
    subspace = SOLVERS[solver](features)
    rank = choose_rank(SHARE, subspace.variances, subspace.left_out)
    axes = subspace.lift(torch.eye(rank, len(subspace.variances)))
    fitted = time.perf_counter()
    print(
        f"{solver}: {rank} axes of {len(subspace.variances)} in {fitted - start:.0f} s", flush=True
    )
    cells = torch.arange(features.shape[1]) % N_CELLS
    held_out = held_out_errors(subspace, SHARE, cells, draw_folds(features.shape[0], 10))
    seconds = [fitted - start, time.perf_counter() - fitted, time.process_time()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    test = torch.from_numpy(draw_test(features.shape[1], decay)) - subspace.mean.float()
    scores = (test - (test @ axes.T) @ axes).double().square().sum(dim=1)
    np.savez(folder / f"{solver}.npz", scores=scores, held_out=held_out.double().sum(dim=1))
    result = {"rank": rank, "seconds": seconds, "peak_mb": peak}
    (folder / f"{solver}.json").write_text(json.dumps(result))


def auroc_of(scores: NDArray[np.float64]) -> float:
    """Of good images, then as many defective ones."""
    return float(
        auroc(*count(torch.from_numpy(scores).float(), torch.arange(2 * N_TEST) >= N_TEST))
    )


def compare(found: Path, exact: Path) -> list[str]:
    """Relative differences of test and of held-out scores, mean and largest, and of AUROC."""
    cells = []
    with np.load(found) as ours, np.load(exact) as theirs:
        for name in ("scores", "held_out"):
            difference = ours[name] / theirs[name] - 1
            cells.append(f"{difference.mean():+.1e}, {abs(difference).max():.0e}")
        cells.append(f"{auroc_of(ours['scores']) - auroc_of(theirs['scores']):+.1e}")
    return cells


def measure(n_images: int, arguments: argparse.Namespace, table: Table) -> None:
    """Write features, fit them by each solver, and add rows to the table."""
    n_features = arguments.features
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, first in enumerate(range(0, n_images, ROWS_PER_SHARD)):
            rows = draw(
                min(ROWS_PER_SHARD, n_images - first), n_features, arguments.decay, 3 + number
            )
            np.save(folder / f"shard-{number:05d}.npy", rows)
        exact = "gram" if n_features > n_images else "scatter"
        is_affordable = min(n_images, n_features) <= arguments.max_exact
        for solver in [exact, "krylov"] if is_affordable else ["krylov"]:
            command = [
                sys.executable,
                __file__,
                "--fit",
                solver,
                name,
                f"--decay={arguments.decay}",
            ]
            subprocess.run(command, check=True)
            result = json.loads((folder / f"{solver}.json").read_text())
            seconds = [f"{value:.1f}" for value in result["seconds"]]
            compared = solver == "krylov" and is_affordable
            differences = (
                compare(folder / "krylov.npz", folder / f"{exact}.npz") if compared else []
            )
            numbers = [str(n_images), solver, str(result["rank"]), *seconds]
            table.add_row(*numbers, f"{result['peak_mb']:.0f}", *differences)
            Console().print(numbers, differences)


def main() -> None:
    """Measure each number of images, and print a table."""
    arguments = parse_arguments()
    if arguments.fit:
        fit(arguments.fit[0], Path(arguments.fit[1]), arguments.decay)
        return
    columns = ("images", "solver", "axes", "fit s", "folds s", "CPU s", "peak MB")
    table = Table(*columns, "test scores", "held-out scores", "AUROC")
    for n_images in arguments.images:
        measure(n_images, arguments, table)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
