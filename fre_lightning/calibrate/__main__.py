"""`python -m fre_lightning.calibrate`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("calibrate", "fre_lightning.calibrate.job")
