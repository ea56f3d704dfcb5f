"""`python -m fre_lightning.ood`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("ood", "fre_lightning.ood.job")
