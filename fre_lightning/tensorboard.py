"""What a run shows in TensorBoard besides the metrics and losses that Lightning logs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from fre_lightning.curves import auroc, merge_counts, pr_curve_counts, roc_curve
from fre_lightning.datasets import Sample
from fre_lightning.heatmaps import PanelArtist

MAX_PANELS = 12
_MAX_CURVE_BINS = 127  # what TensorBoard shows of a PR curve


def log_hyperparameters(
    logger: TensorBoardLogger, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    """Log hyperparameters with the final metrics, once: only so has the HParams tab columns."""
    logger.log_hyperparams(dict(params), {f"final/{name}": v for name, v in metrics.items()})


def log_panels(
    logger: TensorBoardLogger, samples: Sequence[Sample], scores: Tensor, artist: PanelArtist
) -> None:
    """Log a few heat maps; event files are never pruned, so at most `MAX_PANELS`."""
    for index in choose_panels(samples, scores):
        sample = samples[index]
        panel = np.asarray(artist.draw(index, sample))
        tag = f"{sample.defect_type}/{sample.path.stem}"
        logger.experiment.add_image(tag, panel, dataformats="HWC")


def choose_panels(samples: Sequence[Sample], scores: Tensor) -> list[int]:
    """The images worth a look: of each defect type the lowest and the highest score, by turns."""
    by_type: defaultdict[str, list[int]] = defaultdict(list)
    for index in scores.argsort().tolist():
        by_type[samples[index].defect_type].append(index)
    extremes = [end[0] for end in by_type.values()] + [end[-1] for end in by_type.values()]
    return sorted(dict.fromkeys(extremes[:MAX_PANELS]))


def log_curves(logger: TensorBoardLogger, name: str, positives: Tensor, negatives: Tensor) -> None:
    """Log the ROC curve as a figure and the PR curve from its counts, if they are defined.

    Args:
        logger: Where to.
        name: `image` or `pixel`.
        positives: `(K,)` counts by ascending score.
        negatives: `(K,)`.
    """
    if positives.sum() == 0 or negatives.sum() == 0:
        return
    area = float(auroc(positives, negatives))
    positives, negatives = merge_counts(positives, negatives, _MAX_CURVE_BINS)
    logger.experiment.add_figure(f"roc/{name}", _draw_roc(positives, negatives, area))
    logger.experiment.add_pr_curve_raw(f"pr/{name}", **pr_curve_counts(positives, negatives))


def _draw_roc(positives: Tensor, negatives: Tensor, area: float) -> Figure:
    false_positive_rate, true_positive_rate = roc_curve(positives, negatives)
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="false positive rate", ylabel="true positive rate")
    axes.plot(false_positive_rate.numpy(), true_positive_rate.numpy(), label=f"AUROC {area:.4f}")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure
