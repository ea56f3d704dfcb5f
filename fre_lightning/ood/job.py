"""One run of `fre_lightning.ood`, from configuration to results: the order of its steps."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fre_lightning.config import build
from fre_lightning.detector.checkpoint import FILE_NAME
from fre_lightning.errors import DatasetError
from fre_lightning.experiment.summary import Stopwatch
from fre_lightning.experiment.trainer import make_trainer, seed_everything
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.files import make_output_dir, replacing, write_json, write_text
from fre_lightning.images.notices import start_run
from fre_lightning.ood.classifier import Classifier, NetworkClassifier
from fre_lightning.ood.known import ClassSplits
from fre_lightning.ood.loading import GROUPS, save_ood
from fre_lightning.ood.model import OODModel
from fre_lightning.ood.page import write_page
from fre_lightning.ood.results import (
    Judged,
    Row,
    evaluate,
    print_rows,
    write_image_scores,
    write_rows,
)
from fre_lightning.ood.run_images import RunImages, extract, image_set, list_images
from fre_lightning.ood.unknown import KNOWN, NamedSet
from fre_lightning.results import run_folder
from fre_lightning.results.finished import (
    find_origin,
    mark_finished,
    results_if_finished,
    unmark,
)
from fre_lightning.scoring.threshold import check_rate
from fre_lightning.threads import within_quota

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)

WEIGHTS = "classifier.pth"


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train or load a classifier, fit all methods to its features, and test them.

    Args:
        cfg: As composed from `configs/ood.yaml`.

    Returns:
        The content of `metrics.json`.

    Raises:
        FREError: For anything that the user can fix.
    """
    check_rate(cfg.false_alarm_rate)
    watch = Stopwatch()
    start_run()
    seed_everything(cfg.seed)
    torch.set_num_threads(cfg.n_threads or within_quota(torch.get_num_threads()))
    output_dir = make_output_dir(cfg.paths.output_dir)
    images = list_images(cfg)
    origin = find_origin(cfg, images.samples)
    if cfg.resume and (stored := results_if_finished(output_dir, origin)):
        return stored
    unmark(output_dir)
    classifier: Classifier = build(cfg.classifier, n_classes=len(images.known.classes))
    model, trainer = OODModel(classifier, cfg.methods), make_trainer(cfg)
    method = model.index_of(cfg.decide_by)
    if cfg.match_classes:
        _check_classes(classifier, images.known)
    with watch("train"):
        if isinstance(classifier, NetworkClassifier) and classifier.is_trained_here:
            _train(cfg, model, classifier, images, output_dir, trainer)
        else:
            classifier.load_weights()
    log.info("%s, on %s", model.description, trainer.strategy.root_device)
    with watch("extract"):
        layers, *other_layers = extract(cfg, model, images, trainer)
    with watch("fit"):
        labels = torch.tensor(images.fitted_on.labels)
        model.fit(layers, labels, trainer.strategy.root_device)
        if images.held_out.samples:
            model.calibrate(other_layers.pop(0))
    with watch("test"):
        test, *unknown = _judge(model, images, other_layers)
        rows = evaluate(model.entries, test, unknown)
    names = images.known.classes
    if not cfg.match_classes:
        names = list(map(str, range(classifier.n_classes)))
    groups = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in GROUPS}
    path, rate = output_dir / FILE_NAME, cfg.false_alarm_rate
    save_ood(path, model, groups, names, cfg.decide_by, rate)
    summary = _summarize(cfg, model, images, test.logits) | {"results": rows} | watch.seconds()
    _write(cfg, output_dir, summary, rows)
    write_image_scores(output_dir, model.entries, [test, *unknown], names, images.root)
    print_rows(rows, model.description, output_dir)
    if cfg.report:
        write_page(output_dir / run_folder.REPORT, model, summary, test, unknown, method)
        log.info("Report: %s", output_dir / run_folder.REPORT)
    mark_finished(output_dir, origin)
    return summary


def _train(
    cfg: DictConfig,
    model: OODModel,
    classifier: NetworkClassifier,
    images: RunImages,
    output_dir: Path,
    trainer: "Trainer",
) -> None:
    """Train the model's classifier on known images, and store its weights."""
    samples, labels = images.fitted_on
    loader = image_set(cfg, images, NamedSet(KNOWN, KNOWN, samples))
    pixels = torch.cat([batch.images for batch in loader.loader(model)]).float()
    pixels = pixels.sub_(classifier.pixel_mean).div_(classifier.pixel_std)
    network = classifier.build_whole()
    network.load_state_dict(classifier.network.state_dict(), strict=False)  # as its seed gave them
    build(cfg.training).run(network, pixels, torch.tensor(labels), trainer)
    state = network.state_dict()
    kept = {key: state[key] for key in classifier.network.state_dict()}
    classifier.network.load_state_dict(kept)
    with replacing(output_dir / WEIGHTS) as temporary:
        torch.save(state, temporary)


def _check_classes(classifier: Classifier, known: ClassSplits) -> None:
    """Refuse images of other classes than the classifier's.

    Raises:
        DatasetError: If their numbers differ.
    """
    n_known = len(known.classes)
    if classifier.n_classes != n_known:
        msg = (
            f"The classifier tells {classifier.n_classes} classes apart, and the known images have "
            f"{n_known}: {', '.join(known.classes[:5])} ... Give the images that it was trained "
            "on, or set match_classes=false if they are only like these."
        )
        raise DatasetError(msg)


def _judge(model: OODModel, images: RunImages, sets: list[list[FeatureMatrix]]) -> list[Judged]:
    """What the model says of known test images, then of each unknown set."""
    known = NamedSet(KNOWN, KNOWN, images.known.test.samples)
    return [
        Judged(one, layers[-1].block(slice(None)), model.score_all(layers))
        for one, layers in zip((known, *images.unknown), sets, strict=True)
    ]


def _summarize(
    cfg: DictConfig, model: OODModel, images: RunImages, logits: Tensor
) -> dict[str, Any]:
    """Settings, numbers of images, and how often the classifier is right, in flat keys."""
    classifier, known = model.backbone, images.known
    summary = {
        "classifier": classifier.name,
        "layers": "+".join(classifier.layers[:-1]),
        "weights": classifier.weights_label,
        "image_size": list(model.image_size),
        "n_classes": classifier.n_classes,
        "n_train": len(images.fitted_on.labels),
        "n_held_out": len(images.held_out.labels),
        "n_test": len(known.test.labels),
        "n_components": model.n_components,
        "seed": cfg.seed,
    }
    if cfg.match_classes:
        right = logits.argmax(dim=1) == torch.tensor(known.test.labels)
        accuracy = summary["accuracy"] = float(right.double().mean())
        log.info("The classifier is right on %.2f %% of known test images.", 100 * accuracy)
        if accuracy < 2 / len(known.classes):
            log.warning("Are its classes in the order of the folders' names, sorted?")
    return summary


def _write(cfg: DictConfig, folder: Path, summary: dict[str, Any], rows: list[Row]) -> None:
    write_json(folder / run_folder.METRICS, summary)
    write_text(folder / run_folder.CONFIG, OmegaConf.to_yaml(cfg, resolve=True))
    run_folder.write_environment(folder)
    write_rows(folder, rows)
