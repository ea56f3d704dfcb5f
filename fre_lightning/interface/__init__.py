"""What programs and notebooks call: fit, evaluate and compose, on the command line's path."""
