"""`python -m fre_lightning.serve`."""

from fre_lightning.cli import run_command

if __name__ == "__main__":
    run_command("serve", "fre_lightning.serve.job")
