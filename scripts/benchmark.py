"""Ours against the published procedure: same process, images, weights and threads.

python scripts/benchmark.py --model resnet18 --weights FILE --json result.json
python scripts/benchmark.py --help
"""

import argparse
import gc
import json
import logging
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import published
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from peak_memory import PeakMemory
from rich.console import Console
from rich.table import Table

from fre_lightning.backbones import Scattering, TorchvisionBackbone
from fre_lightning.backbones.extractor import Extractor, ImageParallel
from fre_lightning.config import CONFIG_DIR, build
from fre_lightning.datasets import Splits
from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.experiment import run
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.images.loader import ImageLoader
from fre_lightning.reducers import PCA
from fre_lightning.reducers.cross_fit import draw_folds, held_out_errors
from fre_lightning.reducers.subspace import find_subspace
from fre_lightning.threads import default_n_threads

REDUCERS = ("pca", "tae", "ae")
STAGES = (*published.STAGES, "total")
console = Console()


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="resnet18", help="a model of configs/model with weights")
    parser.add_argument("--weights", default="random", help="as model.weights; random is as fast")
    parser.add_argument("--engine", default="auto", help="as model.engine")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--reducers", default=",".join(REDUCERS), help="some of pca,tae,ae")
    parser.add_argument("--n-train", type=int, default=220)
    parser.add_argument("--n-test", type=int, default=110, help="half of them defective")
    parser.add_argument("--size", type=int, default=900, help="side of the image files in pixels")
    parser.add_argument("--image-size", type=int, help="side that the model sees; its default")
    parser.add_argument("--data-dir", default="data", help="where the synthetic images are kept")
    parser.add_argument("--skip", default="", help="some of published,scattering,scaling")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    return parser.parse_args()


def configure(arguments: argparse.Namespace, scratch: Path, *overrides: str) -> DictConfig:
    """A configuration of our program."""
    size = [f"model.image_size={arguments.image_size}"] if arguments.image_size else []
    n_good = arguments.n_test // 2
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(
            "config",
            [
                f"model={arguments.model}",
                f"model.weights={arguments.weights}",
                f"model.engine={arguments.engine}",
                *size,
                "scoring=paper",
                "dataset=synthetic",
                f"dataset.image_size={arguments.size}",
                f"dataset.n_train={arguments.n_train}",
                f"dataset.n_test_good={n_good}",
                f"dataset.n_test_defective={arguments.n_test - n_good}",
                f"paths.data_dir={arguments.data_dir}",
                f"paths.cache_dir={scratch / 'cache'}",
                f"trainer={'cpu' if arguments.device == 'cpu' else 'gpu'}",
                "report=false",  # the published procedure draws nothing
                "logger=none",
                *overrides,
            ],
        )


def run_ours(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Our program with each reducer, as a sweep does."""
    result: dict[str, Any] = {}
    with PeakMemory() as memory:
        start = time.perf_counter()
        for reducer in arguments.reducers.split(","):
            output = f"paths.output_dir={scratch / reducer}"
            cfg = configure(arguments, scratch, f"reducer={reducer}", output)
            result[reducer] = run(cfg)
        result["seconds"] = time.perf_counter() - start
    return result | {"peak_memory_mb": memory.megabytes}


def run_published(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The published procedure with each reducer, on the weights of our program."""
    cfg = configure(arguments, scratch)
    splits: Splits = build(cfg.dataset).scan()
    backbone: TorchvisionBackbone = build(cfg.model)
    backbone.load_weights()
    state = dict(backbone.network.state_dict())
    network = published.load_network(backbone.name, backbone.layers[0], state).to(arguments.device)
    result: dict[str, Any] = {}
    with PeakMemory() as memory:
        start = time.perf_counter()
        for reducer in arguments.reducers.split(","):
            result[reducer] = published.run_reducer(
                reducer,
                network,
                [sample.path for sample in splits.train],
                [sample.path for sample in splits.test],
                [next(iter(sample.mask_paths), None) for sample in splits.test],
                labels=[sample.label for sample in splits.test],
                image_size=backbone.image_size[0],
                pool=backbone.pools[0],
                device=arguments.device,
            )
            console.print(f"published {reducer}: {result[reducer]['seconds']['total']:.1f} s")
        result["seconds"] = time.perf_counter() - start
    return result | {"peak_memory_mb": memory.megabytes}


def our_stages(summary: dict[str, Any]) -> dict[str, float]:
    """Seconds by the published stages; decoding and forward passes overlap, as do the last two."""
    return {
        "forward": summary["seconds_extract"],
        "fit": summary["seconds_fit"],
        "metrics": summary["seconds_test"],
        "total": summary["seconds_total"],
    }


def print_comparison(
    arguments: argparse.Namespace,
    ours: dict[str, dict[str, Any]],
    theirs: dict[str, Any] | None,
) -> None:
    """A row per program and reducer."""
    title = f"{arguments.model}, {arguments.n_train} + {arguments.n_test} images, {processor()}"
    table = Table("", "reducer", *STAGES, "peak MB", title=title)
    rows = [
        (name, r, our_stages(result[r]), result)
        for name, result in ours.items()
        for r in result
        if r in REDUCERS
    ]
    if theirs:
        rows += [("published", r, theirs[r]["seconds"], theirs) for r in theirs if r in REDUCERS]
    for name, reducer, seconds, result in rows:
        cells = (f"{seconds[stage]:.2f}" if stage in seconds else "" for stage in STAGES)
        table.add_row(name, reducer, *cells, f"{result['peak_memory_mb']:.0f}")
    console.print(table)
    console.print("Ours decodes while it computes, and scores while it measures: one figure each.")


def compare(arguments: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Run both sides and print what each took."""
    cold = run_ours(arguments, scratch)
    warm = run_ours(arguments, scratch)
    numbers = {
        "seconds_cold": cold["seconds"],
        "seconds_warm": warm["seconds"],
        "peak_memory_mb": max(cold["peak_memory_mb"], warm["peak_memory_mb"]),
    }
    theirs = None
    if "published" not in arguments.skip:
        theirs = run_published(arguments, scratch)
        numbers |= {
            "seconds_published": theirs["seconds"],
            "published_peak_memory_mb": theirs["peak_memory_mb"],
            "ratio_cold": theirs["seconds"] / cold["seconds"],
            "ratio_warm": theirs["seconds"] / warm["seconds"],
        }
        fits = [
            theirs[r]["seconds"]["fit"] / warm[r]["seconds_fit"]
            for r in ("tae", "ae")
            if r in theirs
        ]
        if fits:
            numbers["ratio_ae_fit"] = min(fits)
        for reducer in (r for r in REDUCERS if r in theirs):
            for metric in ("image_auroc", "pixel_auroc"):
                numbers[f"{reducer}_{metric}"] = warm[reducer][metric]
                numbers[f"published_{reducer}_{metric}"] = theirs[reducer][metric]
    print_comparison(arguments, {"cold": cold, "warm": warm}, theirs)
    return numbers


def measure_inference(arguments: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Images a second from memory to error map, one at a time and in batches; and decoding."""
    reducer = arguments.reducers.split(",")[0]
    cfg = configure(arguments, scratch)
    model = restore_model(read_checkpoint(scratch / reducer)).to(arguments.device)
    n_threads = torch.get_num_threads()
    samples = build(cfg.dataset).scan().test[:32]
    loader = ImageLoader(samples, model.backbone.image_size, 32, default_n_threads())
    start = time.perf_counter()
    images = torch.cat([batch.images for batch in loader])
    decode_seconds = (time.perf_counter() - start) / len(images)
    images = images.to(arguments.device)
    backbone, layers = model.backbone, model.backbone.layers
    extract = Extractor(backbone, layers, images.device, n_threads, "32-true")

    def detect(batch: torch.Tensor) -> torch.Tensor:
        features = extract(batch) if len(batch) > 1 else backbone.features(batch)
        error_maps = model.error_maps_of([layer[:, None] for layer in features])
        return model.scoring.image_score(error_maps).cpu()

    with torch.inference_mode():
        single, batch = (best_seconds(lambda n=n: detect(images[:n])) for n in (1, len(images)))
    extract.close()
    return {
        "decode_ms": 1000 * decode_seconds,
        "single_ms": 1000 * single,
        "fps_single": 1 / single,
        "fps_batch": len(images) / batch,
    }


def measure_scattering() -> dict[str, float]:
    """Milliseconds an image of the backbone without weights, 32 grey images of 256x256."""
    grey = torch.randint(0, 256, (32, 1, 256, 256), dtype=torch.uint8)
    images = grey.expand(-1, 3, -1, -1)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        backbone: Scattering = build(compose("config", ["model=scattering"]).model)
    parallel = ImageParallel(backbone, torch.get_num_threads(), backbone.images_per_thread or 1)
    with torch.inference_mode():
        milliseconds = 1000 * best_seconds(lambda: parallel(images)) / len(images)
    parallel.close()
    return {"scattering_ms": milliseconds}


def measure_scaling() -> dict[str, float]:
    """Seconds of a PCA, and of it with four refits that leave a fold out, over N and D."""
    table = Table("N", "D", "PCA s", "with 10 folds s", title="Cost of a fit")
    numbers: dict[str, float] = {}
    sizes = [(n, 2048) for n in (100, 300, 1000, 3000, 10000)]
    for n, d in [*sizes, *((1000, d) for d in (1024, 4096, 16384))]:
        generator = torch.Generator().manual_seed(0)
        mixing = torch.randn(100, d, generator=generator) / torch.arange(1, 101)[:, None]
        features = torch.randn(n, 100, generator=generator) @ mixing
        matrix = FeatureMatrix([features + 0.01 * torch.randn(n, d, generator=generator)])
        fit = best_seconds(lambda matrix=matrix: PCA(0.97).fit(matrix), n_times=2)
        start = time.perf_counter()
        held_out_errors(find_subspace(matrix), 0.97, torch.zeros(d).long(), draw_folds(n, 10))
        folds = time.perf_counter() - start
        table.add_row(str(n), str(d), f"{fit:.3f}", f"{folds:.3f}")
        numbers |= {f"pca_seconds_{n}x{d}": fit, f"folds_seconds_{n}x{d}": folds}
    console.print(table)
    return numbers


def best_seconds(function: Any, n_times: int = 5) -> float:
    """The shortest of some calls, after one that doesn't count."""
    function()
    seconds = []
    for _ in range(n_times):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def processor() -> str:
    """The processor's name and the number of threads in use."""
    names = [
        line.partition(":")[2].strip()
        for line in _lines(Path("/proc/cpuinfo"))
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def _lines(path: Path) -> Sequence[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


@contextmanager
def scratch_dir() -> Iterator[Path]:
    """A folder for caches and outputs that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fre-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure, print, and write JSON."""
    arguments = parse_arguments()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    build(configure(arguments, Path()).dataset).scan()  # makes the images
    gc.freeze()  # as the command line does
    numbers: dict[str, Any] = {"processor": processor(), "model": arguments.model}
    with scratch_dir() as scratch:
        numbers |= compare(arguments, scratch)
        numbers |= measure_inference(arguments, scratch)
    if "scattering" not in arguments.skip:
        numbers |= measure_scattering()
    if "scaling" not in arguments.skip:
        numbers |= measure_scaling()
    for name, number in numbers.items():
        console.print(f"{name}: {number:.4g}" if isinstance(number, float) else f"{name}: {number}")
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
