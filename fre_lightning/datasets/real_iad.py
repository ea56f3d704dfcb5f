"""Real-IAD in its published layout."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fre_lightning.datasets.base import GOOD, Sample, Splits
from fre_lightning.datasets.published import Published
from fre_lightning.datasets.rows import assemble_rows
from fre_lightning.files import open_text

_TABLES = "realiad_jsons/realiad_jsons"


@dataclass(eq=False)
class RealIAD(Published):
    """Real-IAD (Wang et al., 2024): thirty objects in five views each, all views as one set.

    <https://realiad4ad.github.io/Real-IAD/>, under CC BY-NC-SA 4.0. On disk, with the split, the
    defect types and the paths below an object's folder in a JSON file::

        <root>/realiad_jsons/realiad_jsons/<object>.json
        <root>/<image_dir>/<object>/OK/<sample>/*.jpg
        <root>/<image_dir>/<object>/NG/<defect type>/<sample>/*.jpg, *.png

    Args:
        root: The folder with `realiad_jsons` in it, or the one above.
        category: The object.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white, as in `AnomalyDataset`.
        roi: Where images count, as in `AnomalyDataset`.
        image_dir: The folder of the images of a size.
    """

    title = "Real-IAD"
    page = "https://realiad4ad.github.io/Real-IAD/"
    terms = "CC BY-NC-SA 4.0, not for commercial use"

    image_dir: str

    def scan(self) -> Splits:
        """List the samples of both splits."""
        root = self.find_root(_TABLES)
        self.check_category(sorted(path.stem for path in (root / _TABLES).glob("*.json")))
        table = root / _TABLES / f"{self.category}.json"
        try:
            with open_text(table) as stream:
                content = json.load(stream)
            folder = root / self.image_dir / content["meta"].get("prefix", self.category)
            good = content["meta"]["normal_class"]
            found = [
                (split, _parse(entry, folder, good))
                for split in ("train", "test")
                for entry in content[split]
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            flaw = f"{table} cannot be read ({type(error).__name__}: {error})"
            raise self.incomplete(flaw) from error
        return assemble_rows(found, table)


def _parse(entry: Mapping[str, Any], folder: Path, good: str) -> Sample:
    kind, mask = entry["anomaly_class"], entry.get("mask_path")
    masks = (folder / mask,) if mask else ()
    return Sample(folder / entry["image_path"], GOOD if kind == good else kind, masks)
