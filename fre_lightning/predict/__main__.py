"""`python -m fre_lightning.predict`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("predict", "fre_lightning.predict.job")
