"""Pairs of defective images and their masks."""

from dataclasses import replace
from pathlib import Path

from fre_lightning.datasets.base import Sample
from fre_lightning.datasets.listing import list_images
from fre_lightning.errors import DatasetError


class MaskFinder:
    """Looks masks up by the stem of their image: `<stem>_mask.*`, else `<stem>.*`.

    Attributes:
        root: The folder that holds all masks of the dataset.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, dict[str, Path]] = {}  # a folder is listed once

    def attach(self, sample: Sample, mask_dir: Path) -> Sample:
        """The defective sample with its mask from `mask_dir`.

        Raises:
            DatasetError: If there is none: pixel metrics of only some defects would mislead.
        """
        masks, stem = self._list(mask_dir), sample.path.stem
        mask_path = masks.get(f"{stem}_mask", masks.get(stem))
        if mask_path in (None, sample.path):  # the masks may lie beside their images
            msg = (
                f"The defective image {sample.path} has no mask: among the {len(masks)} masks "
                f"found in {mask_dir} there is neither {stem}_mask.png nor {stem}.png. Add the "
                f"mask, or move {self.root} away to run without pixel metrics."
            )
            raise DatasetError(msg)
        return replace(sample, mask_path=mask_path)

    def _list(self, mask_dir: Path) -> dict[str, Path]:
        if mask_dir not in self._listings:
            self._listings[mask_dir] = {path.stem: path for path in list_images(mask_dir)}
        return self._listings[mask_dir]
