"""TensorBoard: hyperparameters, curves and panels of a run; Lightning logs its metrics."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.files import visible
from fre_lightning.metrics.curves import auroc, merge_counts, pr_curve_counts, roc_curve
from fre_lightning.pictures.overlays import encode
from fre_lightning.pictures.panels import PanelArtist
from fre_lightning.threads import thread_pool

MAX_PANELS = 12
_MAX_CURVE_BINS = 127  # what TensorBoard shows of a PR curve


def log_panels(logger: TensorBoardLogger, scores: Tensor, artist: PanelArtist) -> None:
    """Log a few heat maps; event files are never pruned, so at most `MAX_PANELS`, as JPEGs."""
    writer = logger.experiment._get_file_writer()  # add_image encodes slowly, as PNG
    samples = artist.samples

    def add(index: int) -> None:
        panel = artist.draw(index)
        encoded, (width, height) = encode(panel, "JPEG"), panel.size
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded
        )
        tag = visible(f"{samples[index].defect_type}/{samples[index].path.stem}")
        writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]))

    # Decoding and encoding take the time; the writer takes events from any thread.
    with thread_pool(artist.n_threads) as pool:
        list(pool.map(add, choose_panels(samples, scores)))


def choose_panels(samples: Sequence[Sample], scores: Tensor) -> list[int]:
    """The images of the lowest and the highest score of each defect type."""
    by_type: defaultdict[str, list[int]] = defaultdict(list)
    for index in scores.argsort().tolist():
        by_type[samples[index].defect_type].append(index)
    extremes = [end[0] for end in by_type.values()] + [end[-1] for end in by_type.values()]
    return sorted(dict.fromkeys(extremes[:MAX_PANELS]))


def log_curves(logger: TensorBoardLogger, counts: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Log ROC curves as a figure and PR curves from their counts, those that are defined.

    Args:
        logger: Where to.
        counts: Of `image` and `pixel`, positives and negatives `(K,)` by ascending score.
    """
    defined = {name: pair for name, pair in counts.items() if all(part.sum() > 0 for part in pair)}
    if not defined:
        return
    areas = {name: float(auroc(*pair)) for name, pair in defined.items()}
    merged = {name: merge_counts(*pair, _MAX_CURVE_BINS) for name, pair in defined.items()}
    logger.experiment.add_figure("roc/curves", _draw_roc(merged, areas))
    for name, pair in merged.items():
        logger.experiment.add_pr_curve_raw(f"pr/{name}", **pr_curve_counts(*pair))


def _draw_roc(counts: Mapping[str, tuple[Tensor, Tensor]], areas: Mapping[str, float]) -> Figure:
    figure = Figure(figsize=(4.5, 4.5))  # a layout engine would take as long as all the drawing
    axes = figure.add_axes(
        (0.14, 0.12, 0.82, 0.82), xlabel="false positive rate", ylabel="true positive rate"
    )
    for name, pair in counts.items():
        false_positive_rate, true_positive_rate = (rate.numpy() for rate in roc_curve(*pair))
        label = f"{name} AUROC {areas[name]:.4f}"
        axes.plot(false_positive_rate, true_positive_rate, label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure
