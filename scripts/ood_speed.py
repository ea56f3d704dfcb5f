"""What methods on a classifier's features cost: seconds of fit and of scoring, and memory.

    python scripts/ood_speed.py [--n-train N] [--n-test N] [--n-features D ...] [--json FILE]

Features are made up, of the size that CIFAR-10 gives: ten classes, variances that fall as a power
law, cut off at zero. Each method runs in a process of its own, whose peak memory is counted from
where the features lie in it.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import torch
from peak_memory import PeakMemory
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.ood.distances import Mahalanobis, NearestNeighbours, ViM
from fre_lightning.ood.fre import FRE, FREByClass
from fre_lightning.ood.method import Head, Known, Method
from fre_lightning.reducers import PCA

_N_CLASSES = 10
_MB = 2**20

COLUMNS = ("components", "fit s", "fit cpu s", "score s", "score cpu s", "stored MB", "peak MB")
"""Of tables; seconds that pass, and those of all processors together."""

METHODS: dict[str, Callable[[], Method]] = {
    "FRE, 0.97 of the variance": lambda: FRE(PCA(0.97)),
    "FRE, 64 components": lambda: FRE(PCA(64)),
    "FRE per class, 0.97": lambda: FREByClass(PCA(0.97)),
    "FRE per class, 64 components": lambda: FREByClass(PCA(64)),
    "Mahalanobis": Mahalanobis,
    "kNN, k = 50": lambda: NearestNeighbours(50),
    "ViM": lambda: ViM(None),
}


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-train", type=int, default=50_000)
    parser.add_argument("--n-test", type=int, default=10_000)
    parser.add_argument("--n-features", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    rows = []
    table = Table("features", "method", *COLUMNS)
    context = multiprocessing.get_context("spawn")
    for n_features in arguments.n_features:
        for name in METHODS:
            with context.Pool(1) as pool:
                sizes = (arguments.n_train, arguments.n_test, n_features)
                row = pool.apply(measure, (name, *sizes))
            rows.append({"n_features": n_features, "method": name} | row)
            table.add_row(str(n_features), name, *(_text(row[key]) for key in COLUMNS))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


@torch.inference_mode()
def measure(name: str, n_train: int, n_test: int, n_features: int) -> dict[str, Any]:
    """Seconds and megabytes of a method."""
    features, labels = make_features(n_train + n_test, n_features)
    head = Head(torch.randn(_N_CLASSES, n_features) / n_features**0.5, torch.zeros(_N_CLASSES))
    logits = features @ head.weight.T
    known = Known(FeatureMatrix([features[:n_train]]), logits[:n_train], labels[:n_train], head)
    method, before = METHODS[name](), psutil.Process().memory_info().rss / _MB
    with PeakMemory() as memory:
        times = [_now()]
        method.fit(known)
        times.append(_now())
        parts = (torch.split(part[n_train:], 1024) for part in (features, logits))
        scores = torch.cat([method(*block) for block in zip(*parts, strict=True)])
        times.append(_now())
    assert scores.isfinite().all()
    stored = sum(tensor.nbytes for tensor in method.state_dict().values())
    counts = getattr(method, "n_components", None)
    components = "" if not isinstance(counts, list) else f"{min(counts)} to {max(counts)}"
    (fit, cpu_fit), (score, cpu_score) = (
        [after - before for before, after in zip(*pair, strict=True)] for pair in pairwise(times)
    )
    peak = memory.megabytes - before
    values = (components, fit, cpu_fit, score, cpu_score, stored / _MB, peak)
    return dict(zip(COLUMNS, values, strict=True))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"


def make_features(n: int, n_features: int) -> tuple[Tensor, Tensor]:
    """Features `(n, D)` and classes `(n,)`."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % _N_CLASSES
    axes = torch.linalg.qr(torch.randn(n_features, n_features, generator=generator)).Q
    scales = torch.arange(1, n_features + 1) ** -0.7
    features = torch.randn(n, n_features, generator=generator).mul_(scales) @ axes
    means = torch.randn(_N_CLASSES, n_features, generator=generator) / n_features**0.5
    return features.add_(3 * means[labels]).relu_(), labels


if __name__ == "__main__":
    main()
