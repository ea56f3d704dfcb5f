"""Heat maps of judged images, drawn in threads while others are judged."""

import os
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

import torch

from fre_lightning.detector.result import DetectionResult
from fre_lightning.errors import OutputError
from fre_lightning.files import replacing
from fre_lightning.images.prepare import PreparedImage
from fre_lightning.pictures.overlays import color_scale
from fre_lightning.pictures.panels import draw_panel
from fre_lightning.threads import end_threads, start_threads


class HeatmapWriter:
    """Writes a PNG per image, in folders named as those of the images."""

    def __init__(self, folder: Path, root: str | None, n_threads: int) -> None:
        """Start the threads.

        Args:
            folder: Where heat maps go.
            root: The images' folder, below which names are kept; None for whole paths.
            n_threads: How many are drawn at a time.
        """
        self._folder = folder
        self._root = root
        self._pool = start_threads(n_threads, "draw")
        self._pending: deque[Future[None]] = deque()
        self._n_ahead = 4 * n_threads

    def write(self, image: str, prepared: PreparedImage, result: DetectionResult) -> None:
        """Draw an image's heat map soon.

        Raises:
            OutputError: If an earlier one could not be written.
        """
        path = self._folder / heatmap_name(image, self._root)
        self._pending.append(self._pool.submit(_draw, path, prepared, result))
        while len(self._pending) > self._n_ahead:
            self._pending.popleft().result()

    def __enter__(self) -> "HeatmapWriter":
        """Nothing more to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what is being drawn."""
        try:
            while self._pending and error is None:
                self._pending.popleft().result()
        finally:
            end_threads(self._pool)


def heatmap_name(image: str, root: str | None) -> Path:
    """Where below the heat maps' folder that of an image goes.

    Args:
        image: Its path.
        root: What its name is relative to, if it lies there; else its whole path is kept.
    """
    path = Path(os.path.abspath(image))  # noqa: PTH100 - links are to keep their names
    folder = Path(os.path.abspath(root or ""))  # noqa: PTH100
    inside = root is not None and path.is_relative_to(folder)
    name = path.relative_to(folder if inside else path.anchor)
    return name if name.suffix.lower() == ".png" else name.with_name(f"{name.name}.png")


def _draw(path: Path, prepared: PreparedImage, result: DetectionResult) -> None:
    anomaly_map = torch.from_numpy(result.anomaly_map)
    panel = draw_panel(prepared.pixels, None, anomaly_map, color_scale(result))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            panel.save(temporary, format="png", compress_level=1)
    except OSError as error:
        msg = f"The heat map {path} cannot be written ({error.strerror})."
        raise OutputError(msg) from error
