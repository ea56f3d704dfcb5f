"""Groups of training images that the user names: by folder, by file name, or in a table."""

import re
from collections.abc import Sequence
from pathlib import Path

from fre_lightning.datasets.rows import read_rows
from fre_lightning.errors import DatasetError
from fre_lightning.files import relative_path

_UNNAMED = ("auto", "none")


def name_groups(rule: str, paths: Sequence[Path], root: Path) -> list[str] | None:
    """The group of each image.

    Args:
        rule: `folder`: images of one folder. A path that ends in `.csv`: a table with the columns
            `path` (relative to the dataset, or a file name) and `group`. Else a regular expression,
            searched for in the path relative to the dataset: its first group, or all that it
            matches. `auto` and `none` name none.
        paths: The images.
        root: The folder that paths are relative to.

    Returns:
        The name of each image's group; None if the rule names none.

    Raises:
        DatasetError: If the rule leaves an image without a group, names an image that is missing,
            or cannot be read.
    """
    if rule in _UNNAMED:
        return None
    names = [relative_path(path, root).as_posix() for path in paths]
    if rule == "folder":
        return [name.rpartition("/")[0] for name in names]
    if rule.lower().endswith(".csv"):
        return _from_table(Path(rule).expanduser(), names)
    return _from_names(rule, names)


def _from_names(rule: str, names: Sequence[str]) -> list[str]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        msg = (
            f"calibration.groups={rule} is neither auto, none, folder nor a .csv file, and as a "
            f"regular expression it is wrong: {error}."
        )
        raise DatasetError(msg) from error
    found = [pattern.search(name) for name in names]
    missing = [name for name, match in zip(names, found, strict=True) if match is None]
    if missing:
        msg = (
            f"calibration.groups={rule} matches {len(names) - len(missing)} of {len(names)} "
            f"training images, and not {missing[0]}, for example. Correct the expression."
        )
        raise DatasetError(msg)
    return [match[1 if pattern.groups else 0] or "" for match in found if match]


def _from_table(path: Path, names: Sequence[str]) -> list[str]:
    groups = dict(read_rows(path, ("path", "group")))
    found = [groups.get(name, groups.get(name.rpartition("/")[2])) for name in names]
    missing = [name for name, group in zip(names, found, strict=True) if not group]
    if missing:
        msg = (
            f"calibration.groups={path} has no line for {len(missing)} of {len(names)} training "
            f"images, for example {missing[0]}. Add them."
        )
        raise DatasetError(msg)
    return [group for group in found if group is not None]
