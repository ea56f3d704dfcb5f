"""`python -m fre_lightning.export`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("export", "fre_lightning.export.job")
