"""The description of an exported file: in the file itself, in `export.json`, on the console."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fre_lightning.export.graph import INPUT
from fre_lightning.export.subjects import Subject
from fre_lightning.version import __version__


def describe(cfg: DictConfig, subject: Subject, size: tuple[int, int] | None) -> dict[str, Any]:
    """Describe a file to the programs that will run it, which may choose other thresholds.

    Args:
        cfg: Its `resize` and `half_reducer`.
        subject: What is exported.
        size: `(H, W)` of the file's images; None: any size.
    """
    intensity = subject.model.intensity
    return {
        "input": {
            "name": INPUT,
            "shape": ["N", *(size or ["H", "W"]), 3],
            "dtype": "float32" if intensity else "uint8",
            "layout": "NHWC",
            "color": "RGB",
            "size": list(size) if size else "any",
        },
        "intensity": intensity and list(intensity[:2]),
        "image_size": list(subject.model.image_size),
        "resize": cfg.resize,
        "half_reducer": cfg.half_reducer,
        **subject.about,
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
        for what in ("score", "map", "logits"):
            if (key := f"{part}{what}_difference") in parity:
                table.add_row(f"{what}, {label}", "", f"{parity[key]:.1e}")
    table.add_section()
    table.add_row("size, MB", "", f"{n_bytes / 1e6:.1f}")
    console = Console()
    console.print(table)
    console.print(written, style="dim", soft_wrap=True, highlight=False)
