"""`python -m fre_lightning.update`, or `fre-lightning-update`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("update", "fre_lightning.update.job")


if __name__ == "__main__":
    main()
