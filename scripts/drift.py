"""How soon a change of a stream of good parts is noticed, and how often one that is none.

python scripts/drift.py --categories gear metal --json FILE model.image_size=128

Each stream has parts drawn with another seed, and a detector fitted on other parts of that seed. It
goes on without a change; and once more, with the same first parts, brighter until that is noticed.
What comes after the options are overrides as of `python -m fre_lightning`.
"""

import argparse
import json
import logging
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from statistics import median

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from tqdm import trange

from fre_lightning.config import CONFIG_DIR, build
from fre_lightning.datasets import Synthetic
from fre_lightning.datasets.base import GOOD
from fre_lightning.datasets.synthetic_parts import PARTS
from fre_lightning.detector import Detector
from fre_lightning.detector.builder import build_model, detector_config
from fre_lightning.features.cache import CachedRows
from fre_lightning.images.prepare import prepare_image
from fre_lightning.scoring.drift import DriftMonitor
from fre_lightning.threads import default_n_threads

N_TRAIN, N_UNCHANGED, N_BEFORE, N_AFTER = 60, 500, 200, 1000
GAIN = 1.03

Levels = NDArray[np.uint8]


def main() -> None:
    """Draw, watch, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--categories", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--streams", type=int, default=20, help="of each category")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("overrides", nargs="*", help="as of python -m fre_lightning")
    arguments = parser.parse_intermixed_args()
    logging.getLogger("fre_lightning").setLevel(logging.ERROR)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("config", ["model=scattering", *arguments.overrides])
    rows = {}
    for category in arguments.categories:
        seeds = trange(1, arguments.streams + 1, desc=category)
        noticed, delays = zip(*(watch(cfg, category, seed) for seed in seeds), strict=True)
        rows[category] = {
            "streams": len(noticed),
            "alarms without change": sum(number is not None for number in noticed),
            "noticed": sum(0 < delay < math.inf for delay in delays),
            "median delay": None if math.isinf(median(delays)) else median(delays),
        }
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    table = Table("", *rows[category])
    for category, row in rows.items():
        table.add_row(category, *map(str, row.values()))
    Console().print(table)


def watch(cfg: DictConfig, category: str, seed: int) -> tuple[int | None, float]:
    """The image at which a drift is noticed without a change, and the delay with one."""

    def draw(first: int, n_parts: int) -> Iterator[Levels]:
        size = cfg.model.image_size
        parts = Synthetic(Path(), category, False, "auto", None, size, 0, 0, 0, seed)
        return (parts.draw("test", GOOD, first + number)[0] for number in range(n_parts))

    detector = fit(cfg, draw(0, N_TRAIN))
    p_values = list(judge(detector, draw(N_TRAIN, N_UNCHANGED)))
    later = draw(N_TRAIN + N_BEFORE, N_AFTER)
    brighter = (np.rint(np.minimum(GAIN * part, 255)).astype(np.uint8) for part in later)
    changed = notice(chain(p_values[:N_BEFORE], judge(detector, brighter)))
    return notice(p_values), (changed or math.inf) - N_BEFORE


@torch.inference_mode()
def fit(cfg: DictConfig, parts: Iterator[Levels]) -> Detector:
    """A detector that has learnt these parts."""
    model = build_model(cfg)
    pixels = torch.stack([prepare_image(part, model.image_size).pixels for part in parts])
    layers = [layer.float().numpy() for layer in model.features_of(pixels)]
    rows = [CachedRows([layer], [*range(N_TRAIN)], [], was_computed=True) for layer in layers]
    model.fit(rows, model.device, build(cfg.augmentation))
    return Detector(model, 0.05, None, default_n_threads(), detector_config(cfg))


def judge(detector: Detector, parts: Iterable[Levels]) -> Iterator[float]:
    """The p-value of each part."""
    for outcome in detector.stream(parts, watches_drift=False):
        assert outcome.result is not None
        assert outcome.result.p_value is not None
        yield outcome.result.p_value


def notice(p_values: Iterable[float]) -> int | None:
    """The number of the part, from 1, at which a drift is noticed."""
    monitor = DriftMonitor(N_TRAIN)
    return next((number for number, p in enumerate(p_values, 1) if monitor.add(p)), None)


if __name__ == "__main__":
    main()
