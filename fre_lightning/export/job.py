"""One export, from a checkpoint to checked files."""

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fre_lightning.errors import ConfigError, ExportError, FREError
from fre_lightning.export.base import Format, Runner, cause_of
from fre_lightning.export.comparison import check_parity, compare_latency, reference, resized
from fre_lightning.export.description import describe, file_facts, print_report
from fre_lightning.export.graph import DetectorGraph, exportable, record
from fre_lightning.export.lanczos import LanczosResize
from fre_lightning.export.memory import memory_per_size
from fre_lightning.export.onnx import Onnx
from fre_lightning.export.openvino import OpenVINO
from fre_lightning.export.samples import load_samples
from fre_lightning.export.subjects import load_subject
from fre_lightning.export.torch_export import TorchExport
from fre_lightning.files import make_output_dir, write_json
from fre_lightning.images.resizing import parse_image_size

log = logging.getLogger(__name__)

_REPORT = "export.json"
_MOST_PER_SIZE = 1.0
"""Megabytes that a runtime may keep for each size of images without a word."""

FORMATS: dict[str, Format] = {kind.name: kind() for kind in (Onnx, OpenVINO, TorchExport)}
"""The file formats, by their name on the command line."""


def run(cfg: DictConfig) -> dict[str, Any]:
    """Export, compare with PyTorch, write.

    Args:
        cfg: As composed from `configs/export.yaml`.

    Returns:
        The content of `export.json`.

    Raises:
        ExportError: If what the file gives differs from PyTorch's by more than is allowed, or there
            is no file of it; then nothing is left behind.
        FREError: For any other error that the user can fix.
    """
    file_format, input_size = _find_format(cfg.format), _input_size(cfg)
    output_dir = make_output_dir(cfg.paths.output_dir)
    subject = load_subject(cfg)
    model, intensity = subject.model, subject.model.intensity
    path = Path(cfg.checkpoint).expanduser()
    source, images = load_samples(cfg.images, path, cfg.n_images, intensity)
    resize = LanczosResize(model.image_size, input_size) if cfg.resize else None
    graph = DetectorGraph(exportable(model, half_reducer=cfg.half_reducer), resize)
    size = graph.input_size
    about = describe(cfg, subject, size)
    prefix = f".export-{file_format.name}-"
    for left in output_dir.glob(f"{prefix}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=output_dir) as temporary:
        folder = Path(temporary)
        log.info("Exporting %s to %s", model.description, file_format.name)
        start = time.perf_counter()
        exported = _write(file_format, graph, folder, about)
        seconds = time.perf_counter() - start
        expected = reference(model)
        log.info("Comparing it with PyTorch on %d images (%s)", len(images), source)
        sizes, (other, unit) = (model.image_size, size), subject[2:]
        parity = check_parity(cfg, expected, exported, images, sizes, intensity, other, unit)
        image = resized(images[:1], size, intensity)[0] if size else images[0]
        latency = compare_latency(cfg, expected, exported, image)
        growth = memory_per_size(exported, images[0]) if size is None else None
        files = {name: file_facts(folder / name) for name in file_format.files}
        report = {
            "format": file_format.name,
            "files": files,
            **about,
            "parity": {"images": source, "n_images": len(images), **parity},
            "latency": latency,
            "megabytes_per_size": growth,
            "seconds_export": round(seconds, 3),
        }
        write_json(folder / _REPORT, report)
        for name in (*files, _REPORT):  # together, for they belong together
            (folder / name).replace(output_dir / name)
    if growth is not None and growth >= _MOST_PER_SIZE:
        log.warning(
            "%s keeps some %.1f MB for each new size of images. In a service that meets many, fix "
            "the size: input_size=[HEIGHT,WIDTH].",
            file_format.name,
            growth,
        )
    print_report(report, f"{', '.join([*files, _REPORT])} in {output_dir}")
    return report


def _write(
    file_format: Format, graph: DetectorGraph, folder: Path, about: Mapping[str, Any]
) -> Runner:
    """Write a graph, and load what was written.

    Raises:
        ExportError: If it cannot be recorded, or the format has no room for it.
    """
    program = record(graph)
    try:
        file_format.write(program, folder, about)
        return file_format.load(folder / file_format.files[0])
    except (FREError, OSError, MemoryError):
        raise
    except Exception as error:  # the libraries raise all kinds
        others = " or ".join(name for name in FORMATS if name != file_format.name)
        msg = (
            f"format={file_format.name} cannot hold what this detector computes "
            f"({cause_of(error, -1)}). Choose format={others}."
        )
        raise ExportError(msg) from error


def _find_format(name: str) -> Format:
    if name not in FORMATS:
        msg = f"format={name} is unknown; choose one of {', '.join(FORMATS)}."
        raise ConfigError(msg)
    FORMATS[name].check_installed()
    return FORMATS[name]


def _input_size(cfg: DictConfig) -> tuple[int, int] | None:
    if cfg.input_size is None:
        return None
    if not cfg.resize:
        msg = "input_size is the size that the file resizes from: leave it out with resize=false."
        raise ConfigError(msg)
    sides = cfg.input_size
    return parse_image_size(list(sides) if OmegaConf.is_list(sides) else sides)
