"""What a runtime keeps in memory of each new size of images."""

from pathlib import Path

import numpy as np

from fre_lightning.export.base import Images, Runner

_N_SIZES = 12
_STATUS = Path("/proc/self/statm")  # Linux


def memory_per_size(exported: Runner, image: Images) -> float | None:
    """Measure how much the process grows with each new size of images.

    A runtime that prepares itself for every size that it meets, and forgets none, fills the memory
    of a service in time.

    Args:
        exported: A file that takes images of any size.
        image: `(H, W, 3)`; it is cut to sizes that differ by some pixels.

    Returns:
        Megabytes a size, the first half of the sizes left out; None where it cannot be measured.
    """
    if not _STATUS.is_file():
        return None
    used = []
    for index in range(_N_SIZES):
        height, width = (side - 3 * index for side in image.shape[:2])
        if min(height, width) < 2:
            return None
        exported(np.ascontiguousarray(image[None, :height, :width]))
        used.append(_resident_megabytes())
    half = _N_SIZES // 2
    return round(max(0.0, used[-1] - used[half - 1]) / half, 2)


def _resident_megabytes() -> float:
    import resource

    pages = int(_STATUS.read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6
