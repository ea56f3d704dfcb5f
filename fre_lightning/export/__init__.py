"""Export of a fitted detector to files that run without this package."""
