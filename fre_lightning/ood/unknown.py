"""What a classifier does not know: folders of other images, and known images that are spoilt."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fre_lightning.datasets.base import Sample
from fre_lightning.datasets.listing import list_images_below
from fre_lightning.errors import ConfigError, DatasetError, did_you_mean
from fre_lightning.images.copies import find_copies
from fre_lightning.images.perturbations import CORRUPTIONS
from fre_lightning.ood.known import ClassSplits

KNOWN, NEAR, FAR = "known", "near", "far"


class NamedSet(NamedTuple):
    """Images of one kind.

    Attributes:
        name: In tables.
        kind: `known`; or `near` or `far`, whether unknown ones are like the known ones or not.
        samples: The images.
        change: The name of what spoils them, one of `CORRUPTIONS`; None: they are as they are.
    """

    name: str
    kind: str
    samples: list[Sample]
    change: str | None = None


class UnknownSets:
    """Any number of sets.

    Args:
        near: Folders of images like the known ones; each is read with all that is below it.
        far: Folders of images of other kinds.
        corruptions: What known test images are spoilt by; each gives a near set.

    Raises:
        ConfigError: If there is no such corruption, or no set at all.
    """

    def __init__(self, near: Sequence[str], far: Sequence[str], corruptions: Sequence[str]) -> None:
        for name in corruptions:
            if name not in CORRUPTIONS:
                msg = (
                    f"unknown.corruptions has {name}, which is none of {', '.join(CORRUPTIONS)}."
                    f"{did_you_mean(name, CORRUPTIONS)}"
                )
                raise ConfigError(msg)
        if not (near or far or corruptions):
            msg = "Nothing to test on: give folders as unknown.near=[DIR] or unknown.far=[DIR]."
            raise ConfigError(msg)
        self._folders = [(Path(path).expanduser(), NEAR) for path in near]
        self._folders += [(Path(path).expanduser(), FAR) for path in far]
        self._corruptions = list(corruptions)

    def scan(self, known: ClassSplits) -> list[NamedSet]:
        """List the sets' images.

        Raises:
            DatasetError: If a folder has no image, or known images among its own.
        """
        names = Counter(path.name for path, _ in self._folders)
        sets = [
            NamedSet(
                path.name if names[path.name] == 1 else str(path),
                kind,
                [Sample(image) for image in list_images_below(path)],
            )
            for path, kind in self._folders
        ]
        for (path, _), one in zip(self._folders, sets, strict=True):
            if not one.samples:
                msg = f"{path.absolute()} has no images: correct unknown.near or unknown.far."
                raise DatasetError(msg)
        _refuse_known(sets, [*known.train.samples, *known.test.samples])
        spoilt = [NamedSet(name, NEAR, known.test.samples, name) for name in self._corruptions]
        return [*sets, *spoilt]


def _refuse_known(sets: Sequence[NamedSet], known: Sequence[Sample]) -> None:
    known_paths = {sample.path for sample in known}
    owners = {sample.path: one.name for one in sets for sample in one.samples}
    groups = find_copies([*known_paths, *owners])
    copies = [
        (path, next(other for other in group if other in known_paths))
        for group in [*groups, *([path] for path in known_paths & owners.keys())]
        if known_paths.intersection(group)
        for path in group
        if path in owners
    ]
    if copies:
        path, other = copies[0]
        msg = (
            f"{len(copies)} images of the unknown sets are known ones, for example {path} of "
            f"{owners[path]} is {other}: no metric would mean anything. Remove them from the sets."
        )
        raise DatasetError(msg)
