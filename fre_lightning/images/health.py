"""What a dataset looks like before it is learnt from: counts, sizes, kinds, copies, and flaws."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fre_lightning.datasets import Splits
from fre_lightning.datasets.listing import find_left_out
from fre_lightning.errors import DatasetError
from fre_lightning.files import relative_path, visible
from fre_lightning.images.copies import find_copies
from fre_lightning.images.header import Header

log = logging.getLogger(__name__)

_MOST_LISTED = 5


def examine(splits: Splits, headers: Sequence[Header | None], root: Path) -> dict[str, Any]:
    """Look at all files of a dataset, without decoding one.

    Args:
        splits: The samples.
        headers: Those of the training images, then of the test images, from `read_headers`.
        root: The folder that names are relative to.

    Returns:
        For `metrics.json`: `images`, the number of images of each split and defect type;
        `n_sizes`; the most frequent `sizes` and `kinds` with their numbers; `copies`, groups of
        files with the same content; `left_out`, files of other kinds; `warnings`, sentences.

    Raises:
        DatasetError: If all test images are copies of training images, so that no metric means
            anything.
    """
    samples = [*splits.train, *splits.test]
    paths = [sample.path for sample in samples]
    copies = find_copies(paths)
    folders, files = find_left_out(paths, root)
    warnings = [
        *_describe_left_out(files),
        *_compare_kinds(headers[: len(splits.train)], headers[len(splits.train) :]),
        *_describe_copies(copies, splits, root),
    ]
    known = [header for header in headers if header is not None]
    return {
        "images": {"train": len(splits.train)}
        | {f"test/{kind}": n for kind, n in Counter(s.defect_type for s in splits.test).items()},
        "n_sizes": len({header.size for header in known}),
        "sizes": _most_common(f"{h.size[1]}x{h.size[0]}" for h in known),
        "kinds": _most_common(_kind(header) for header in known),
        "copies": [[_name(path, root) for path in group] for group in copies],
        "left_out": {"files": dict(files), "folders": sorted(folders)},
        "warnings": warnings,
    }


def log_health(health: dict[str, Any]) -> None:
    """Say what `examine` found: a line, and a warning for each flaw."""
    images, sizes = health["images"], health["sizes"]
    test = ", ".join(f"{n} {kind.removeprefix('test/')}" for kind, n in [*images.items()][1:])
    several = f"{health['n_sizes']} sizes, mostly " if len(sizes) > 1 else ""
    log.info(
        "%d training images, to test on: %s. %s%s; %s",
        images["train"],
        test or "none",
        several,
        next(iter(sizes), "no size"),
        ", ".join(health["kinds"]) or "of no known kind",
    )
    if health["left_out"]["folders"]:
        log.info("Folders that were left out: %s", ", ".join(health["left_out"]["folders"]))
    for warning in health["warnings"]:
        log.warning("%s", warning)


def _describe_left_out(files: Counter[str]) -> list[str]:
    if not files:
        return []
    return [f"{files.total()} files of other kinds were left out: {', '.join(sorted(files))}"]


def _compare_kinds(train: Sequence[Header | None], test: Sequence[Header | None]) -> list[str]:
    learnt = Counter(_kind(header) for header in train if header is not None)
    others = Counter(_kind(header) for header in test if header is not None)
    found = []
    if len(learnt) > 1:
        kinds = ", ".join(f"{n} {kind}" for kind, n in learnt.most_common())
        found.append(
            f"The training images are of several kinds: {kinds}. Grey and coloured images, or "
            "depths, beside each other are mostly a mistake of conversion."
        )
    new = {kind: n for kind, n in others.items() if kind not in learnt}
    if learnt and new:
        kinds = ", ".join(f"{n} {kind}" for kind, n in new.items())
        found.append(
            f"Test images of a kind that was not learnt: {kinds} (learnt: {', '.join(learnt)}). "
            "They may be told apart by their kind, not by their defects."
        )
    return found


def _describe_copies(copies: Sequence[Sequence[Path]], splits: Splits, root: Path) -> list[str]:
    learnt = {sample.path for sample in splits.train}
    labels = {sample.path: sample.label for sample in splits.test}
    groups = [*copies, *([path] for path in learnt if path in labels)]
    leaked = {
        path: None for group in groups if learnt & {*group} for path in group if path in labels
    }
    if leaked and len(leaked) == len(labels):
        msg = (
            f"All {len(labels)} test images are copies of training images (for example "
            f"{_name(next(iter(leaked)), root)}), so that no metric would mean anything. "
            "Test on other images, or on none."
        )
        raise DatasetError(msg)
    contradictions = [
        group for group in copies if {labels.get(path, 0) for path in group} == {0, 1}
    ]
    within = sum(len(learnt.intersection(group)) - 1 for group in copies if learnt & {*group})
    found = []
    if within:
        found.append(
            f"{within} training images are copies of others: they count twice, and a threshold "
            "that holds one out knows its copy."
        )
    if leaked:
        found.append(
            f"{len(leaked)} of the {len(labels)} test images are copies of training images, for "
            f"example {_name(next(iter(leaked)), root)}: metrics are better than on new parts."
        )
    if contradictions:
        names = ", ".join(_name(path, root) for path in contradictions[0])
        found.append(
            f"{len(contradictions)} images are both good and defective: {names}. Correct a label."
        )
    return found


def _kind(header: Header) -> str:
    return f"{header.mode} of {header.bits} bits"


def _most_common(names: Any) -> dict[str, int]:
    return dict(Counter(names).most_common(_MOST_LISTED))


def _name(path: Path, root: Path) -> str:
    return visible(relative_path(path, root).as_posix())
