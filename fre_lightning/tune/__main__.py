"""`python -m fre_lightning.tune`, or `fre-lightning-tune`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("tune", "fre_lightning.tune.job")


if __name__ == "__main__":
    main()
