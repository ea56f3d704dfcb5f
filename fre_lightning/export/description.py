"""The description of an exported file: in the file itself, in `export.json`, on the console."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fre_lightning.detector.model import FREModel
from fre_lightning.export.graph import INPUT, OUTPUTS
from fre_lightning.version import __version__


def describe(
    cfg: DictConfig, model: FREModel, size: tuple[int, int] | None, rate: float
) -> dict[str, Any]:
    """Describe a file to the programs that will run it, which may choose other thresholds.

    Args:
        cfg: Its `resize` and `half_reducer`.
        model: The exported model.
        size: `(H, W)` of the file's images; None: any size.
        rate: The false-alarm rate of the thresholds.
    """
    thresholds = model.calibration.thresholds(rate)
    return {
        "input": {
            "name": INPUT,
            "shape": ["N", *(size or ["H", "W"]), 3],
            "dtype": "float32" if model.intensity else "uint8",
            "layout": "NHWC",
            "color": "RGB",
            "size": list(size) if size else "any",
        },
        "outputs": {
            OUTPUTS[0]: {"shape": ["N"], "dtype": "float32"},
            OUTPUTS[1]: {"shape": ["N", *model.image_size], "dtype": "float32"},
        },
        "intensity": model.intensity and list(model.intensity[:2]),
        "image_size": list(model.image_size),
        "resize": cfg.resize,
        "threshold": thresholds and thresholds.image,
        "pixel_threshold": thresholds and thresholds.pixel,
        "false_alarm_rate": rate,
        "calibration_scores": [round(float(s), 6) for s in model.calibration.image_scores.cpu()],
        "model": model.backbone.name,
        "weights": model.backbone.weights_label,
        "reducer": model.reducers[0].name,
        "n_components": sum(reducer.n_components for reducer in model.reducers),
        "half_reducer": cfg.half_reducer,
        "scoring": model.scoring.name,
        "n_train": model.n_train,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    versions = {"fre_lightning": __version__}
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def file_facts(path: Path) -> dict[str, Any]:
    """The size and the checksum of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def print_report(report: Mapping[str, Any], written: str) -> None:
    """Print the table of an export, and a line about what was written."""
    parity, latency = report["parity"], report["latency"]
    n_bytes = sum(facts["bytes"] for facts in report["files"].values())
    table = Table(title=f"{report['model']} ({report['weights']}) as {report['format']}")
    for column in ("", "PyTorch", "exported"):
        table.add_column(column, justify="right" if column else "left")
    for name, label in (("single", "1 image, ms"), ("batch", f"{latency['batch']} images, ms")):
        values = (f"{latency[f'{who}_{name}_ms']:.1f}" for who in ("pytorch", "exported"))
        table.add_row(label, *values)
    table.add_section()
    for part, label in (("", "difference"), ("from_any_size_", "with resize")):
        if f"{part}score_difference" in parity:
            table.add_row(f"score, {label}", "", f"{parity[f'{part}score_difference']:.1e}")
            table.add_row(f"map, {label}", "", f"{parity[f'{part}map_difference']:.1e}")
    table.add_section()
    table.add_row("size, MB", "", f"{n_bytes / 1e6:.1f}")
    console = Console()
    console.print(table)
    console.print(written, style="dim", soft_wrap=True, highlight=False)
