"""Search settings by good images alone: Optuna draws them, `fre_lightning.tune` judges them.

python scripts/search.py --study FILE dataset=folder dataset.root=DIR model=resnet18
python scripts/search.py --help

What comes after the options are settings as of `python -m fre_lightning.tune`, the same for all
trials; --space says what is searched. The study is a file, also of a shared file system: the same
command goes on where it was, and several at a time share the work. Hydra's own sweeper for Optuna
does not work with today's: its newest release, 1.3.0, asks for one below 3.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from rich.console import Console
from rich.table import Table

from fre_lightning.arguments import mend
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, OutputError, exit_code_of
from fre_lightning.experiment.job import start
from fre_lightning.progress import progress
from fre_lightning.tune.candidates import command_line, compose_candidate
from fre_lightning.tune.trial import run_trial

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.study import StudyDirection
except ImportError:
    sys.exit('The search takes Optuna: `pip install "fre-lightning[search]"`.')

DIRECTIONS = {"defects": StudyDirection.MAXIMIZE, "spread": StudyDirection.MINIMIZE}
_N_SHOWN = 10


def main() -> int:
    """Search and print; the exit code is 0, or 2 after an error that a message explains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=Path("search.journal"), help="a file")
    parser.add_argument("--space", type=Path, default=Path(__file__).with_suffix(".yaml"))
    parser.add_argument("--n-trials", type=int, default=20, help="that the study is to have")
    parser.add_argument("--criterion", choices=DIRECTIONS, default="defects", help="as of tune")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("settings", nargs="*", help="as of python -m fre_lightning.tune")
    arguments = parser.parse_intermixed_args()
    return exit_code_of(lambda: search(arguments))


def search(arguments: argparse.Namespace) -> None:
    """Try what Optuna draws until the study has enough trials, and print the best.

    Raises:
        FREError: If a file is unsuitable, or no trial succeeds.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, settings = read_space(arguments.space), [mend(each) for each in arguments.settings]
    about = {"space": space, "settings": settings, "criterion": arguments.criterion}
    study = open_study(arguments.study, about)
    own = [*settings, f"paths.output_dir={arguments.study.absolute().parent}"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        for _ in progress(range(_n_finished(study), arguments.n_trials), "Trials"):
            if _n_finished(study) >= arguments.n_trials:
                break  # other processes did the rest
            trial = study.ask()
            # By its number: what was stopped goes on as if it had not been, and processes differ.
            study.sampler = optuna.samplers.TPESampler(seed=1000 * arguments.seed + trial.number)
            study.tell(trial, **judge(trial, own, draw(trial, space), arguments.criterion))
    show(study, settings)


def _n_finished(study: optuna.Study) -> int:
    """Trials that came to their end; those that were killed did not."""
    return sum(trial.state.is_finished() for trial in study.trials)


def read_space(path: Path) -> dict[str, Any]:
    """A list of choices, or a range of numbers, for each key.

    Raises:
        ConfigError: If the file cannot be read, or has something else.
    """
    try:
        space: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not draw(optuna.create_study().ask(), space):
            raise ValueError("it is empty")
    except (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        msg = (
            f"{path} is no space to search ({error}). Give --space=FILE, which has a list of "
            "choices, or {low: ..., high: ...}, for each key."
        )
        raise ConfigError(msg) from error
    return space


def draw(trial: optuna.Trial, space: Mapping[str, Any]) -> str:
    """The settings of a trial, as one types them."""
    words = []
    for key, domain in space.items():
        if isinstance(domain, list):
            choices = ["null" if choice is None else str(choice) for choice in domain]
            choice = trial.suggest_categorical(key, choices)
            words.append(choice if "=" in choice else f"{key}={choice}")
        elif isinstance(domain["low"], int) and isinstance(domain["high"], int):
            words.append(f"{key}={trial.suggest_int(key, **domain)}")
        else:
            words.append(f"{key}={trial.suggest_float(key, **domain):.6g}")
    return " ".join(words)


def open_study(path: Path, about: Mapping[str, Any]) -> optuna.Study:
    """The study in a file, made if it is not there; it keeps what all of its trials share.

    Raises:
        ConfigError: If it is about something else.
        OutputError: If the file cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(path))),
            study_name="search",
            direction=DIRECTIONS[about["criterion"]],
            load_if_exists=True,
        )
        if not study.user_attrs:
            study.set_user_attr("about", about)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be used ({error}). Choose another --study."
        raise OutputError(msg) from error
    if study.user_attrs["about"] != json.loads(json.dumps(about)):
        msg = f"{path} is a study of another space or other settings. Choose another --study."
        raise ConfigError(msg)
    return study


def judge(
    trial: optuna.Trial, settings: Sequence[str], candidate: str, criterion: str
) -> dict[str, Any]:
    """What the study is told of a candidate: its value, or that it failed."""
    trial.set_user_attr("candidate", candidate)
    try:
        cfg = compose_candidate(settings, candidate)
        start(cfg)
        found = run_trial(cfg)
    except Exception as error:  # noqa: BLE001 - as in tune, the others go on
        trial.set_user_attr("error", f"{type(error).__name__}: {error}")
        return {"state": optuna.trial.TrialState.FAIL}
    trial.set_user_attr("found", found._asdict())
    return {"values": found.auroc if criterion == "defects" else found.spread}


def show(study: optuna.Study, settings: Sequence[str]) -> None:
    """Print the best trials, those that failed, and the command that fits with the first.

    Raises:
        ConfigError: If all failed.
    """
    console = Console(markup=False)  # lists stand in brackets
    for trial in study.trials:
        if error := trial.user_attrs.get("error"):
            candidate = trial.user_attrs["candidate"]
            console.print(f"{candidate} failed: {error}", style="yellow", highlight=False)
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    done = sorted((t for t in study.trials if t.values), key=lambda trial: sign * trial.values[0])
    if not done:
        msg = "No trial succeeded; the errors are above. Choose another --study for the next."
        raise ConfigError(msg)
    table = Table("trial", "AUROC of\ndrawn defects", "spread", "seconds", "settings")
    table.columns[-1].overflow = "fold"
    table.caption = f"the best of {len(done)}, by good images alone"
    for trial in done[:_N_SHOWN]:
        found, candidate = trial.user_attrs["found"], trial.user_attrs["candidate"]
        numbers = f"{found['auroc']:.4f}", f"{found['spread']:.4f}", f"{found['seconds']:.1f}"
        table.add_row(str(trial.number), *numbers, candidate)
    console.print(table)
    command = command_line(settings, done[0].user_attrs["candidate"])
    console.print(f"Fit the first: {command}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
