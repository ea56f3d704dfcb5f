"""`python -m fre_lightning.export`."""

from omegaconf import DictConfig

from fre_lightning.command import run_command


def _run(cfg: DictConfig) -> None:
    from fre_lightning.export.job import run

    run(cfg)


def main() -> None:
    """Run the command line."""
    run_command("export", _run)


if __name__ == "__main__":
    main()
