"""The command that calibrates a detector on later good parts."""
