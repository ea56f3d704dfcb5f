"""One job of `fre_lightning.tune`, from candidates to their order."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fre_lightning.errors import ConfigError, FREError
from fre_lightning.experiment.job import start
from fre_lightning.files import make_output_dir
from fre_lightning.results.run_folder import write_csv
from fre_lightning.tune.candidates import command_line, compose_candidate
from fre_lightning.tune.ranking import check_criterion, order
from fre_lightning.tune.trial import Trial, run_trial

log = logging.getLogger(__name__)

TABLE = "tune.csv"
_COLUMNS = ("rank", "candidate", "defects_auroc", "spread", "seconds", "error")
_TITLES = ("", "candidate", "AUROC of\ndrawn defects", "spread", "seconds")


def run(cfg: DictConfig) -> dict[str, Any]:
    """Try all candidates, put them into order, write.

    Args:
        cfg: As composed from `configs/tune.yaml`.

    Returns:
        `best`, the first candidate, and `command`, which fits a detector with it.

    Raises:
        FREError: For any error that the user can fix.
    """
    check_criterion(cfg.tune.criterion)
    if cfg.checkpoint:
        msg = "tune fits detectors of its own: leave checkpoint= out."
        raise ConfigError(msg)
    output_dir = make_output_dir(cfg.paths.output_dir)
    trials: dict[str, Trial] = {}
    errors: dict[str, str] = {}
    for number, candidate in enumerate(cfg.tune.candidates, start=1):
        log.info("%d of %d: %s", number, len(cfg.tune.candidates), candidate)
        try:
            own = compose_candidate(cfg.tune.settings, candidate)
            start(own)
            trials[candidate] = run_trial(own)
        except FREError as error:
            log.error("%s", error)
            errors[candidate] = error.summary
        except Exception as error:
            log.exception("This candidate failed; the others go on.")
            errors[candidate] = f"{type(error).__name__}: {error}"
    if not trials:
        msg = "No candidate could be tried; the errors are above."
        raise ConfigError(msg)
    names = [*trials]
    ranked = [names[index] for index in order([*trials.values()], cfg.tune.criterion)]
    rows = [_row(rank, name, trials[name]) for rank, name in enumerate(ranked, start=1)]
    rows += [("", name, "", "", "", error) for name, error in errors.items()]
    write_csv(output_dir / TABLE, _COLUMNS, rows)
    command = command_line(cfg.tune.settings, ranked[0])
    _print(rows, command, output_dir)
    return {"best": ranked[0], "command": command}


def _row(rank: int, name: str, trial: Trial) -> tuple[str, ...]:
    numbers = f"{trial.auroc:.4f}", f"{trial.spread:.4f}", f"{trial.seconds:.1f}"
    return str(rank), name, *numbers, ""


def _print(rows: Sequence[Sequence[str]], command: str, output_dir: Path) -> None:
    table = Table(*_TITLES, caption="by good images alone")
    for *cells, error in rows:
        table.add_row(*cells, style="yellow" if error else None)
    console = Console(markup=False)  # lists stand in brackets
    console.print(table)
    for row in rows:
        if row[-1]:
            console.print(f"{row[1]} failed: {row[-1]}", style="yellow", highlight=False)
    console.print(f"Table in {output_dir / TABLE}", style="dim", soft_wrap=True)
    console.print(f"Fit the first: {command}", soft_wrap=True, highlight=False)
