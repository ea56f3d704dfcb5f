"""Errors that the user can fix. Each message says what is wrong and what to do next."""

import difflib
from collections.abc import Iterable


class FREError(Exception):
    """Base class: the command line prints the message without a traceback and exits with code 2."""

    @property
    def summary(self) -> str:
        """The first sentence of the message: what is wrong, without the advice."""
        return str(self).partition(". ")[0]


class DatasetError(FREError):
    """A wrong folder, category, mask or number of images."""


class UnreadableImageError(DatasetError):
    """An image that cannot be decoded."""


class BackboneError(FREError):
    """An unknown network or layer, or missing or unsuitable weights."""


class FeatureError(FREError):
    """Features without a subspace: NaN, or too few images."""


class CacheError(FREError):
    """A feature cache that cannot be written."""


class CheckpointError(FREError):
    """A missing checkpoint, or one that this program did not write."""


class OutputError(FREError):
    """Results that cannot be written."""


class ConfigError(FREError):
    """A setting that is out of range or contradicts another."""


class ReportError(FREError):
    """A report on a folder without runs, or on damaged files."""


class ExportError(FREError):
    """A detector that cannot be exported, or an export with other scores."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A sentence, with a space before it, that lists the words most like one; or nothing."""
    matches = difflib.get_close_matches(word, [*words], n=5, cutoff=0.5)
    return f" Did you mean {', '.join(matches)}?" if matches else ""
