"""The command that chooses settings without defective images."""
