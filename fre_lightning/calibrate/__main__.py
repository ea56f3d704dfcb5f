"""`python -m fre_lightning.calibrate`, or `fre-lightning-calibrate`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("calibrate", "fre_lightning.calibrate.job")


if __name__ == "__main__":
    main()
