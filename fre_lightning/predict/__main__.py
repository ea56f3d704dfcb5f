"""`python -m fre_lightning.predict`, or `fre-lightning-predict`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("predict", "fre_lightning.predict.job")


if __name__ == "__main__":
    main()
