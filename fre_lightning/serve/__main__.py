"""`python -m fre_lightning.serve`, or `fre-lightning-serve`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("serve", "fre_lightning.serve.job")


if __name__ == "__main__":
    main()
