"""One run from configuration to results: the one room that uses Lightning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fre_lightning.experiment.job import run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    """Import `run` when it is first used: Lightning takes seconds."""
    if name != "run":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from fre_lightning.experiment.job import run

    return run
