"""Results on disk and in print: the files of a run, the table of a sweep."""
