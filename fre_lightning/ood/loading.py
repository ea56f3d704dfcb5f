"""From a checkpoint of any command to a detector that is ready for use."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from fre_lightning import detector
from fre_lightning.detector.checkpoint import (
    explaining,
    pack_state,
    read_payload,
    task_of,
    write_payload,
)
from fre_lightning.detector.loading import find_device, find_n_threads
from fre_lightning.errors import BackboneError, ConfigError

if TYPE_CHECKING:
    from fre_lightning.ood.detector import OODDetector
    from fre_lightning.ood.model import OODModel

TASK = "ood"
GROUPS = ("classifier", "methods")
"""The configuration groups that a checkpoint contains."""

OF_CLASSIFIERS = ("method", "program")
OF_DETECTORS = ("threshold", "roi", "roi_root", "heatmaps")
"""Options that the other kind does not take."""

_ADDED = {"pool": None}
"""Settings of classifiers that older checkpoints lack, and what they did without them."""
_ADDED_TO_PROGRAMS = {"head": None}

_PROGRAM = "fre_lightning.ood.programs.ProgramClassifier"


def load(path: str | PathLike[str], **options: Any) -> Any:
    """Load a fitted detector, without running any code that the file may hold.

    Args:
        path: A checkpoint, or the folder of the run that wrote it.
        options: As of `fre_lightning.detector.load`, or of `load_ood`; None is no option.

    Returns:
        A `Detector`; of a run of `fre_lightning.ood` an `OODDetector`.

    Raises:
        CheckpointError: If it is missing, damaged, or not one of this program's.
        ConfigError: If an option is out of range, or not for what the checkpoint holds.
    """
    given = {key: value for key, value in options.items() if value is not None}
    return (load_ood if check_task(path, given) else detector.load)(path, **given)


def check_task(path: str | PathLike[str], options: Iterable[str]) -> bool:
    """Whether a checkpoint is of `fre_lightning.ood`, which takes other options.

    Args:
        path: As of `load`.
        options: Names of those that are set.

    Raises:
        ConfigError: If one is for the other kind of checkpoint.
    """
    is_ood = task_of(str(path)) == TASK
    if wrong := [key for key in options if key in (OF_DETECTORS if is_ood else OF_CLASSIFIERS)]:
        kind = "detector of defects" if is_ood else "run of fre_lightning.ood"
        msg = f"{path} is no {kind}: leave out {', '.join(wrong)}."
        raise ConfigError(msg)
    return is_ood


def load_ood(
    path: str | PathLike[str],
    *,
    device: str | None = None,
    false_alarm_rate: float | None = None,
    method: str | None = None,
    n_threads: int | None = None,
    program: str | PathLike[str] | None = None,
) -> "OODDetector":
    """Load a classifier that knows what it knows.

    Args:
        path: A checkpoint, or the folder of the run that wrote it.
        device: `cpu`, `cuda` or `cuda:1`; None for a GPU if there is one, else the CPU.
        false_alarm_rate: The share of known images that may be called unknown; None: the run's.
        method: The key of the method that decides; None: the run's.
        n_threads: CPU threads; None for one per core.
        program: The file of a classifier that is a program, which checkpoints do not hold, for it
            is code; the very one of the run.

    Raises:
        BackboneError: If the program is missing, or another one.
        CheckpointError: If it is missing, damaged, or not of `fre_lightning.ood`.
        ConfigError: If an option is out of range.
    """
    from fre_lightning.ood.detector import OODDetector

    model, about = restore_ood(path, program)
    rate = about["false_alarm_rate"] if false_alarm_rate is None else false_alarm_rate
    model, method = model.to(find_device(device)), method or about["decide_by"]
    return OODDetector(model, about["logits"], method, rate, find_n_threads(n_threads))


def restore_ood(
    path: str | PathLike[str], program: str | PathLike[str] | None = None
) -> "tuple[OODModel, dict[str, Any]]":
    """The fitted model of a checkpoint, on the CPU, and what `save_ood` was told beside it.

    Args:
        path: As of `load_ood`.
        program: As of `load_ood`.

    Raises:
        BackboneError: If the program is missing, or another one.
        CheckpointError: If the checkpoint is missing, damaged, or not of `fre_lightning.ood`.
    """
    from fre_lightning.config import build
    from fre_lightning.ood.model import OODModel

    with explaining(str(path)):
        about, state = read_payload(str(path), GROUPS, TASK)
        settings = about["config"]["classifier"]
        is_program = "_target_" not in settings
        added = _ADDED | (_ADDED_TO_PROGRAMS if is_program else {})
        config = OmegaConf.create(about["config"] | {"classifier": added | settings})
    if is_program:
        config.classifier.update(_find_program(path, config.classifier.file, program))
        classifier = build(config.classifier, n_classes=0)
    with explaining(str(path)):
        if not is_program:
            classifier = build(config.classifier, n_classes=len(about["logits"]))
        model = OODModel(classifier, config.methods)
        model.load_state_dict(state)
    return model.eval(), about


def _find_program(
    path: str | PathLike[str], name: str, program: str | PathLike[str] | None
) -> dict[str, str]:
    """The settings that a checkpoint lacks if its classifier is a program.

    Raises:
        BackboneError: If the caller names none.
    """
    if program is None:
        msg = (
            f"The classifier of {path} is the program {name}, which is code, so that the "
            "checkpoint has not got it: name the file by program=FILE."
        )
        raise BackboneError(msg)
    return {"_target_": _PROGRAM, "file": str(program)}


def save_ood(
    path: Path,
    model: "OODModel",
    config: dict[str, Any],
    classes: Sequence[str],
    method: str,
    false_alarm_rate: float,
) -> None:
    """Write a checkpoint that `load_ood` reads.

    Args:
        path: The file.
        model: The fitted model.
        config: The resolved configuration by group (`GROUPS`).
        classes: The name of each logit.
        method: The key of the method that decides.
        false_alarm_rate: The run's.

    Raises:
        OutputError: If it cannot be written.
    """
    packed = pack_state(
        model.state_dict(),
        task=TASK,
        config=config | {"classifier": model.backbone.to_store(config["classifier"])},
        logits=list(classes),
        decide_by=method,
        false_alarm_rate=false_alarm_rate,
    )
    write_payload(path, packed)
