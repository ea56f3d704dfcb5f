"""What a classifier does not know: folders of other images, and known images that are spoilt."""

import logging
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

log = logging.getLogger(__name__)

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
        _check_copies(sets, known)
        spoilt = [NamedSet(name, NEAR, known.test.samples, name) for name in self._corruptions]
        return [*sets, *spoilt]


def _check_copies(sets: Sequence[NamedSet], known: ClassSplits) -> None:
    """Refuse known images among the unknown, and warn of test images that are learnt from."""
    learnt, tested = ({s.path for s in part.samples} for part in (known.train, known.test))
    owners = {sample.path: one.name for one in sets for sample in one.samples}
    groups = find_copies([*learnt, *tested, *owners])
    groups += [[path] for path in (learnt | tested) & owners.keys()]  # the very same files
    copies = [
        (path, next(other for other in group if other in learnt | tested))
        for group in groups
        if (learnt | tested).intersection(group)
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
    leaked = [path for g in groups if learnt.intersection(g) for path in g if path in tested]
    if leaked:
        log.warning(
            "%d of the %d known test images are copies of images to learn from, for example %s: "
            "metrics are better than on new images.",
            len(leaked),
            len(tested),
            leaked[0],
        )
