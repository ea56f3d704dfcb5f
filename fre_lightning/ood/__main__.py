"""`python -m fre_lightning.ood`, or `fre-lightning-ood`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("ood", "fre_lightning.ood.job")


if __name__ == "__main__":
    main()
