"""A detector behind HTTP, with a page for people: `python -m fre_lightning.serve`."""
