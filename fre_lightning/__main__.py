"""`python -m fre_lightning`."""

from fre_lightning.cli import main

main()
