"""`python -m fre_lightning.tune`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("tune", "fre_lightning.tune.job")
