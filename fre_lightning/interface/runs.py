"""Runs of the command line's own path, called from a program: fit a detector, evaluate one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from fre_lightning.detector import Detector, load
from fre_lightning.detector.checkpoint import FILE_NAME
from fre_lightning.experiment import run
from fre_lightning.files import make_output_dir
from fre_lightning.interface.composition import compose_settings
from fre_lightning.interface.images import Images, dataset_of
from fre_lightning.threads import intra_op_threads

_MODEL = "scattering"
"""The backbone that needs no weights."""

Settings = str | Mapping[str, Any]
"""Of a group: the name of a choice, or a dictionary of settings."""


def fit(
    images: Images | None = None,
    model: Settings = _MODEL,
    reducer: Settings | None = None,
    **settings: Any,
) -> Detector:
    """Fit a detector on images of good parts, as `python -m fre_lightning` does.

    As there, `dataset.test_fraction` of the images is kept from the fit, for `evaluate`, unless
    the folder has test images; and features are cached. Nothing else is kept, unless
    `paths={"output_dir": DIR}` names the folder of the run.

    Args:
        images: A folder, paths, Pillow images, arrays, tensors or a torch dataset; None: the
            settings say where they are, for example `dataset="synthetic"`.
        model: The backbone.
        reducer: What learns the subspace; None for the command line's.
        settings: Further keys of the configuration: `scoring="paper"`, `seed=1`,
            `datamodule={"batch_size": 8}`, `**{"dataset.test_fraction": 0}`.

    Raises:
        FREError: For anything that the user can fix: no images, an unknown key.
    """
    chosen = {"model": model} if reducer is None else {"model": model, "reducer": reducer}
    with _composed(images, {"model": _MODEL}, chosen, settings) as cfg:
        _run(cfg)
        is_cpu = cfg.trainer.accelerator == "cpu"
        return load(
            Path(cfg.paths.output_dir).expanduser() / FILE_NAME,
            device="cpu" if is_cpu else None,
            n_threads=cfg.datamodule.n_threads,
        )


def evaluate(
    detector: Detector,
    images: str | PathLike[str] | None = None,
    output_dir: str | PathLike[str] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Test a detector on the test split of a dataset, as `checkpoint=` of the command line does.

    Args:
        detector: The thresholds are those for its false-alarm rate.
        images: A folder of good and defective images, with masks or without, in one of the layouts
            of `dataset=folder`; None: the settings say where they are.
        output_dir: Gets `report.html`, `scores.csv` and what else a run writes; None: nothing.
        settings: Keys of the configuration, as for `fit`.

    Returns:
        The content of `metrics.json`: `image_auroc`, `recall`, `false_alarm_rate` and so on.

    Raises:
        FREError: For anything that the user can fix.
    """
    with TemporaryDirectory(prefix="fre_lightning-") as folder:
        path = Path(folder) / FILE_NAME
        detector.save(path)
        own: dict[str, Any] = {
            "checkpoint": path,
            "false_alarm_rate": detector.false_alarm_rate,
            "trainer": "cpu" if detector.device.type == "cpu" else "gpu",
            "datamodule.n_threads": detector.n_threads,
        }
        if output_dir is not None:
            own["paths.output_dir"] = output_dir
        with _composed(images, own, settings) as cfg:
            return _run(cfg)


@contextmanager
def _composed(images: Images | None, *layers: Mapping[str, Any]) -> Iterator[DictConfig]:
    """The configuration of a run on images, with a folder that may last no longer than the body."""
    chosen = ({k: v for k, v in layer.items() if k.startswith("paths")} for layer in layers)
    paths, kept = compose_settings(*chosen).paths, dict[str, Any]()
    with TemporaryDirectory(prefix="fre_lightning-") as folder:
        if OmegaConf.is_interpolation(paths, "output_dir"):  # Hydra's, which isn't there
            paths.output_dir = folder
            kept = {"paths.output_dir": folder, "report": False, "logger": "none"}
        output_dir = make_output_dir(paths.output_dir)
        cache_dir = Path(paths.cache_dir).expanduser()
        dataset = {} if images is None else dataset_of(images, output_dir, cache_dir)
        yield compose_settings(kept, dataset, *layers)


def _run(cfg: DictConfig) -> dict[str, Any]:
    with intra_op_threads(torch.get_num_threads()):  # which a run changes
        return run(cfg, quiet=True)
