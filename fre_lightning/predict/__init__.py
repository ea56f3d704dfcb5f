"""Judges many images from the command line: `python -m fre_lightning.predict`."""
