"""`python -m fre_lightning.export`, or `fre-lightning-export`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("export", "fre_lightning.export.job")


if __name__ == "__main__":
    main()
