"""`python -m fre_lightning.update`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("update", "fre_lightning.update.job")
