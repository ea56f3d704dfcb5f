"""`python -m fre_lightning.cache`, or `fre-lightning-cache`."""

from fre_lightning.cli import run_command


def main() -> None:
    """Run the command line."""
    run_command("cache", "fre_lightning.cache.job")


if __name__ == "__main__":
    main()
