"""Heat maps of judged images, drawn in threads while more images are judged."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch

from fre_lightning.detector.detector import Outcome
from fre_lightning.detector.result import DetectionResult
from fre_lightning.errors import OutputError
from fre_lightning.files import replacing
from fre_lightning.images.prepare import PreparedImage
from fre_lightning.pictures.colors import find_color_scale
from fre_lightning.pictures.panels import draw_panel, heatmap_name
from fre_lightning.threads import map_ahead, thread_pool


def draw_heatmaps(
    outcomes: Iterable[Outcome], folder: Path, root: str | None, n_threads: int
) -> None:
    """Draw a heat map of each readable image, while the next images are judged.

    Args:
        outcomes: The judged images; they are not kept in memory.
        folder: Where to write a PNG per image, in the same sub-folders as the images.
        root: The images' folder; sub-folders are relative to it. None: to the file system's root.
        n_threads: Number of images drawn at a time.

    Raises:
        OutputError: If a heat map cannot be written.
    """
    draw = partial(_draw_one, folder=folder, root=root)
    with thread_pool(n_threads, "draw") as pool:
        for _ in map_ahead(pool, draw, outcomes, 4 * n_threads):
            pass


def with_heatmaps(outcomes: Iterable[Outcome], folder: Path, root: str | None) -> Iterator[Outcome]:
    """Yield each outcome once its heat map is on disk.

    Args:
        outcomes: The judged images.
        folder: As for `draw_heatmaps`.
        root: As for `draw_heatmaps`.

    Raises:
        OutputError: If a heat map cannot be written.
    """
    for outcome in outcomes:
        _draw_one(outcome, folder, root)
        yield outcome


def _draw_one(outcome: Outcome, folder: Path, root: str | None) -> None:
    image, prepared, result, _ = outcome
    if prepared is not None and result is not None:
        _draw(folder / heatmap_name(Path(str(image)), Path(root or "/")), prepared, result)


def _draw(path: Path, prepared: PreparedImage, result: DetectionResult) -> None:
    anomaly_map = torch.from_numpy(result.anomaly_map)
    scale = find_color_scale(result.pixel_threshold, anomaly_map)
    region = None if result.region is None else torch.from_numpy(result.region)
    panel = draw_panel(prepared.pixels, None, anomaly_map, scale, region)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            panel.save(temporary, format="png", compress_level=1)
    except OSError as error:
        msg = f"The heat map {path} cannot be written ({error.strerror})."
        raise OutputError(msg) from error
