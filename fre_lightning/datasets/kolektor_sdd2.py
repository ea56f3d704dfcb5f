"""KolektorSDD2 in its published layout."""

from fre_lightning.datasets.base import Splits
from fre_lightning.datasets.kolektor_sdd import read_pairs
from fre_lightning.datasets.published import Published
from fre_lightning.datasets.split import assemble


class KolektorSDD2(Published):
    """KolektorSDD2 (Božič, Tabernik and Skočaj, 2021): coloured surfaces, 356 of 3335 defective.

    <https://www.vicos.si/resources/kolektorsdd2/>, under CC BY-NC-SA 4.0. On disk, with a mask for
    every image, which is black where it is good::

        <root>/{train,test}/<n>.png, <n>_GT.png

    The 246 defective images in `train` are left out.
    """

    title = "KolektorSDD2"
    page = "https://www.vicos.si/resources/kolektorsdd2/"
    terms = "CC BY-NC-SA 4.0, not for commercial use"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        root = self.find_root("train")
        train, test = (read_pairs(self, root / half, "_GT") for half in ("train", "test"))
        return assemble(train, test, root)
