"""The order of candidates by what their trials found."""

from collections.abc import Sequence

from fre_lightning.errors import ConfigError
from fre_lightning.tune.trial import Trial

CRITERIA = ("spread", "defects", "both")


def check_criterion(criterion: str) -> None:
    """Reject what is not one of `CRITERIA` with a `ConfigError`."""
    if criterion not in CRITERIA:
        msg = f"tune.criterion={criterion} is unknown; choose one of {', '.join(CRITERIA)}."
        raise ConfigError(msg)


def order(trials: Sequence[Trial], criterion: str) -> list[int]:
    """Indices of trials, the best first.

    Args:
        trials: Of all candidates that could be tried.
        criterion: `spread`, the lowest; `defects`, the highest AUROC; or `both`, the lowest mean
            of the ranks in both, of equal ones the highest AUROC.
    """
    by_spread = sorted(range(len(trials)), key=lambda i: trials[i].spread)
    by_defects = sorted(range(len(trials)), key=lambda i: -trials[i].auroc)
    if criterion == "spread":
        return by_spread
    if criterion == "defects":
        return by_defects
    return sorted(by_defects, key=lambda i: by_spread.index(i) + by_defects.index(i))
