"""Judging images by the thousand, from the command line: `python -m fre_lightning.predict`."""
