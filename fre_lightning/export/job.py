"""One export from checkpoint to checked files. The one place that knows the order of things."""

import hashlib
import logging
import platform
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ConfigError, ExportError
from fre_lightning.export.formats import FORMATS, Format, Images, Runner
from fre_lightning.export.graph import INPUT, OUTPUTS, DetectorGraph, capture, exportable
from fre_lightning.export.lanczos import LanczosResize
from fre_lightning.export.parity import Parity, compare, measure_latency, reference, resized
from fre_lightning.export.samples import Samples, load_samples
from fre_lightning.files import make_output_dir, write_json
from fre_lightning.images.resizing import parse_image_size
from fre_lightning.scoring.threshold import check_rate
from fre_lightning.version import __version__

log = logging.getLogger(__name__)

REPORT = "export.json"

Size = tuple[int, int]


def run(cfg: DictConfig) -> dict[str, Any]:
    """Export, compare with PyTorch, write.

    Args:
        cfg: As composed from `configs/export.yaml`.

    Returns:
        What `export.json` holds.

    Raises:
        ExportError: If the file's scores or maps differ from PyTorch's by more than is allowed;
            then nothing is left behind.
        FREError: For anything else that the user can mend.
    """
    file_format = _find_format(cfg.format)
    input_size = _input_size(cfg)
    if cfg.false_alarm_rate is not None:
        check_rate(cfg.false_alarm_rate)
    output_dir = make_output_dir(cfg.paths.output_dir)
    path = Path(cfg.checkpoint).expanduser()
    samples = load_samples(cfg.images, path, cfg.n_images)
    checkpoint = read_checkpoint(path)
    rate = checkpoint.false_alarm_rate if cfg.false_alarm_rate is None else cfg.false_alarm_rate
    model = restore_model(checkpoint)
    resize = LanczosResize(model.image_size, input_size) if cfg.resize else None
    about = describe(model, resize, rate, half_reducer=cfg.half_reducer)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output_dir) as temporary:
        folder = Path(temporary)
        log.info("Exporting %s to %s", model.description, file_format.name)
        start = time.perf_counter()
        graph = DetectorGraph(exportable(model, half_reducer=cfg.half_reducer), resize)
        file_format.write(capture(graph, model.image_size), folder, about)
        seconds = time.perf_counter() - start
        exported = file_format.load(folder / file_format.files[0])
        log.info("Comparing it with PyTorch on %d images (%s)", len(samples.images), samples.source)
        parity = check_parity(cfg, model, resize, exported, samples)
        latency = time_both(cfg, model, resize, exported, samples.images[0])
        files = {name: _file_facts(folder / name) for name in file_format.files}
        for name in file_format.files:
            (folder / name).replace(output_dir / name)
    report = {
        "format": file_format.name,
        "files": files,
        **about,
        "parity": parity,
        "latency": latency,
        "seconds_export": round(seconds, 3),
    }
    write_json(output_dir / REPORT, report)
    print_report(report, output_dir)
    return report


def describe(
    model: FREModel, resize: LanczosResize | None, rate: float, *, half_reducer: bool
) -> dict[str, Any]:
    """What whoever runs the file needs to know; a part of it, and free to be changed there."""
    backbone, calibration = model.backbone, model.calibration
    thresholds = calibration.thresholds(rate)
    size = model.image_size if resize is None else resize.input_size
    return {
        "input": {
            "name": INPUT,
            "shape": ["N", *(size or ["H", "W"]), 3],
            "dtype": "uint8",
            "layout": "NHWC",
            "color": "RGB",
            "size": list(size) if size else "any",
        },
        "outputs": {
            OUTPUTS[0]: {"shape": ["N"], "dtype": "float32"},
            OUTPUTS[1]: {"shape": ["N", *model.image_size], "dtype": "float32"},
        },
        "image_size": list(model.image_size),
        "resize": resize is not None,
        "threshold": thresholds and thresholds.image,
        "pixel_threshold": thresholds and thresholds.pixel,
        "false_alarm_rate": rate,
        "calibration_scores": [round(float(s), 6) for s in calibration.image_scores.cpu()],
        "model": backbone.name,
        "weights": backbone.weights_label,
        "reducer": model.reducers[0].name,
        "n_components": sum(reducer.n_components for reducer in model.reducers),
        "half_reducer": half_reducer,
        "scoring": model.scoring.name,
        "n_train": model.n_train,
        "versions": _versions(),
    }


def check_parity(
    cfg: DictConfig,
    model: FREModel,
    resize: LanczosResize | None,
    exported: Runner,
    samples: Samples,
) -> dict[str, Any]:
    """Compare with PyTorch: the network on equal pixels, then the resize of any size as well.

    Raises:
        ExportError: If a difference is larger than it may be.
    """
    tolerance = cfg.half_tolerance if cfg.half_reducer else cfg.tolerance
    size = (resize.input_size if resize else None) or model.image_size
    expected = reference(model)
    parts = {"": (resized(samples.images, size), tolerance)}
    if resize is not None and resize.input_size is None:
        parts["from_any_size_"] = (samples.images, max(tolerance, cfg.resize_tolerance))
    report: dict[str, Any] = {"images": samples.source, "n_images": len(samples.images)}
    for part, (images, limit) in parts.items():
        parity = compare(expected, exported, images)
        report |= {
            f"{part}score_difference": parity.score,
            f"{part}map_difference": parity.anomaly_map,
            f"{part}tolerance": limit,
        }
        if parity.worst > limit:
            raise ExportError(_missed(part, parity, limit, half_reducer=cfg.half_reducer))
    return report


def _missed(part: str, parity: Parity, limit: float, *, half_reducer: bool) -> str:
    what = "the file's own resize of images" if part else "the file"
    setting = "resize_tolerance" if part else "half_tolerance" if half_reducer else "tolerance"
    advice = "half_reducer=false" if half_reducer else "another format"
    return (
        f"With {what}, scores differ from PyTorch's by up to {parity.score:.2g} of their value and "
        f"maps by {parity.anomaly_map:.2g} of their maximum; {setting}={limit:g} allows less. "
        f"No file is left behind. Try {advice}, or allow more if that suits you."
    )


def time_both(
    cfg: DictConfig,
    model: FREModel,
    resize: LanczosResize | None,
    exported: Runner,
    image: Images,
) -> dict[str, Any]:
    """Median milliseconds a call of PyTorch and of the file, from decoded images to maps."""
    if resize is None or resize.input_size is not None:
        (image,) = resized([image], (resize and resize.input_size) or model.image_size)
    runners = (reference(model), exported)
    report: dict[str, Any] = {
        "image_size": list(image.shape[:2]),
        "batch": cfg.latency_batch,
        "n_threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    for name, n in (("single", 1), ("batch", cfg.latency_batch)):
        images = image[None].repeat(n, axis=0)
        for who, took in zip(
            ("pytorch", "exported"),
            measure_latency(runners, images, cfg.latency_repeats),
            strict=True,
        ):
            report[f"{who}_{name}_ms"] = round(took, 2)
    return report


def print_report(report: Mapping[str, Any], output_dir: Path) -> None:
    """Print the table of an export."""
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
    names = ", ".join([*report["files"], REPORT])
    console.print(f"{names} in {output_dir}", style="dim", soft_wrap=True, highlight=False)


def _find_format(name: str) -> Format:
    if name not in FORMATS:
        msg = f"format={name} is unknown; choose one of {', '.join(FORMATS)}."
        raise ConfigError(msg)
    FORMATS[name].check_installed()
    return FORMATS[name]


def _input_size(cfg: DictConfig) -> Size | None:
    if cfg.input_size is None:
        return None
    if not cfg.resize:
        msg = "input_size is the size that the file resizes from: leave it out with resize=false."
        raise ConfigError(msg)
    sides = cfg.input_size
    return parse_image_size(list(sides) if OmegaConf.is_list(sides) else sides)


def _file_facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _versions() -> dict[str, str]:
    versions = {"fre_lightning": __version__}
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
