"""How time and memory of a fit grow with the images, exact and randomised.

python scripts/scale.py --images 1250 5000 20000
python scripts/scale.py --images 1000000 --features 2048 --solvers scatter
python scripts/scale.py --spectrum FOLDER   # of a cache: what real features have
python scripts/scale.py --help

Draws features whose variances fall as (i + offset)^-decay. The defaults are those of ResNet18's
features (layer3) of 762 magnetic tiles: of as many images, 139, 260, 414, 510 and 649 axes have
0.8, 0.9, 0.95, 0.97 and 0.99 of the variance, and of as many drawn ones 147, 273, 412, 506, 648.
Writes them to disk in shards, as the cache does, fits PCA at 0.97 of the variance and the held-out
maps of ten folds, each in a process of its own, and prints how often they read all features,
seconds (and seconds of processors, which other programs change less), peak memory, and how far
scores are from the exact ones.
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
from typing import Any

import numpy as np
import torch
from drawn_features import N_CELLS, N_TEST, Shard, Spectrum, draw, draw_test, open_shards
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.metrics.curves import auroc, count
from fre_lightning.reducers.axes import choose_rank
from fre_lightning.reducers.cross_fit import draw_folds, held_out_errors
from fre_lightning.reducers.gram import GramSubspace
from fre_lightning.reducers.krylov import KrylovSubspace
from fre_lightning.reducers.scatter import ScatterSubspace
from fre_lightning.reducers.subspace import Subspace, find_subspace

SHARE = 0.97
ROWS_PER_SHARD = 128
CHILD = ("features", "decay", "offset", "folds")  # what the process of a fit is told
SHARES = (0.8, 0.9, 0.95, 0.97, 0.99)
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
    parser.add_argument("--offset", type=float, default=31, help="where the decay sets in")
    parser.add_argument("--folds", type=int, default=10, help="that are held out, one by one")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, help="the exact one, and krylov")
    parser.add_argument("--max-exact", type=int, default=5000, help="of images or features")
    parser.add_argument("--folder", type=Path, help="where features are written; a temporary one")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--spectrum", type=Path, help="count the axes of the shards in a folder")
    parser.add_argument("--fit", choices=SOLVERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def fit(solver: str, folder: Path, spectrum: Spectrum, n_folds: int) -> None:
    """Fit, score test and held-out images, and store what came out; alone in its process."""
    features = open_shards(folder)
    n_values = features.shape[0] * features.shape[1]
    start, cpu_start = time.perf_counter(), time.process_time()
    subspace = SOLVERS[solver](features)
    rank = choose_rank(SHARE, subspace.variances, subspace.left_out)
    axes = subspace.lift(torch.eye(rank, len(subspace.variances)))
    seconds, cpu_seconds = [time.perf_counter() - start], [time.process_time() - cpu_start]
    reads = [Shard.n_read / n_values]
    print(f"{solver}: {rank} of {len(subspace.variances)} axes, {seconds[0]:.0f} s", flush=True)
    cells = torch.arange(features.shape[1]) % N_CELLS
    start = time.perf_counter()
    held_out = torch.zeros(0, 1)
    if n_folds:
        folds = draw_folds(features.shape[0], n_folds)
        held_out = held_out_errors(subspace, SHARE, cells, folds)
    seconds.append(time.perf_counter() - start)
    cpu_seconds.append(time.process_time() - cpu_start - cpu_seconds[0])
    reads.append(Shard.n_read / n_values - reads[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    test = torch.from_numpy(draw_test(spectrum)) - subspace.mean.float()
    scores = (test - (test @ axes.T) @ axes).double().square().sum(dim=1)
    np.savez(folder / f"{solver}.npz", scores=scores, held_out=held_out.double().sum(dim=1))
    result = {
        "images": features.shape[0],
        "features": features.shape[1],
        "solver": solver,
        "rank": rank,
        "axes": len(subspace.variances),
        "reads": reads,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": peak,
    }
    (folder / f"{solver}.json").write_text(json.dumps(result))


def auroc_of(scores: NDArray[np.float64]) -> float:
    """Of good images, then as many defective ones."""
    return float(
        auroc(*count(torch.from_numpy(scores).float(), torch.arange(2 * N_TEST) >= N_TEST))
    )


def compare(found: Path, exact: Path) -> dict[str, float]:
    """Relative differences of test and of held-out scores, mean and largest, and of AUROC."""
    differences = {}
    with np.load(found) as ours, np.load(exact) as theirs:
        for name in ("scores", "held_out"):
            difference = ours[name] / theirs[name] - 1
            differences[f"{name}_mean"] = float(difference.mean())
            differences[f"{name}_most"] = float(abs(difference).max())
        differences["auroc"] = auroc_of(ours["scores"]) - auroc_of(theirs["scores"])
    return differences


def measure(
    n_images: int, spectrum: Spectrum, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Write features, and fit them by each solver."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        for number, first in enumerate(range(0, n_images, ROWS_PER_SHARD)):
            rows = draw(min(ROWS_PER_SHARD, n_images - first), spectrum, 3 + number)
            np.save(folder / f"shard-{number:05d}.npy", rows)
        exact = "gram" if spectrum.n_features > n_images else "scatter"
        is_affordable = min(n_images, spectrum.n_features) <= arguments.max_exact
        results = []
        for solver in arguments.solvers or [*([exact] if is_affordable else []), "krylov"]:
            command = [sys.executable, __file__, f"--fit={solver}", f"--folder={name}"]
            command += [
                f"--{key}={value}" for key, value in vars(arguments).items() if key in CHILD
            ]
            subprocess.run(command, check=True)
            result = json.loads((folder / f"{solver}.json").read_text())
            if solver == "krylov" and (folder / f"{exact}.npz").exists():
                result |= compare(folder / "krylov.npz", folder / f"{exact}.npz")
            Console().print(result)
            results.append(result)
    return results


def count_axes(folder: Path) -> list[int]:
    """The axes that have each of `SHARES` of the variance of some shards."""
    variances = find_subspace(open_shards(folder)).variances
    return [choose_rank(share, variances) for share in SHARES]


def print_table(results: list[dict[str, Any]]) -> None:
    """A row for each fit."""
    what = ("images", "features", "solver", "axes", "reads")
    cost = ("fit s", "folds s", "CPU s", "peak MB")
    table = Table(*what, *cost, "test scores", "held-out scores", "AUROC")
    for result in results:
        numbers = [result[name] for name in ("images", "features", "solver", "rank")]
        numbers.append(", ".join(f"{value:.3g}" for value in result["reads"]))
        numbers += [round(value, 1) for value in result["seconds"]]
        numbers += [round(sum(result["cpu_seconds"]), 1), round(result["peak_mb"])]
        if "auroc" in result:
            for name in ("scores", "held_out"):
                numbers.append(f"{result[name + '_mean']:+.1e}, {result[name + '_most']:.0e}")
            numbers.append(f"{result['auroc']:+.1e}")
        table.add_row(*map(str, numbers))
    Console(width=140).print(table)


def main() -> None:
    """Measure each number of images, and print a table."""
    arguments = parse_arguments()
    spectrum = Spectrum(arguments.features, arguments.decay, arguments.offset)
    if arguments.spectrum:
        Console().print(dict(zip(SHARES, count_axes(arguments.spectrum), strict=True)))
        return
    if arguments.fit:
        fit(arguments.fit, arguments.folder, spectrum, arguments.folds)
        return
    results = [r for n in arguments.images for r in measure(n, spectrum, arguments)]
    print_table(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
