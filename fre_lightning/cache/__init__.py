"""The command that lists the feature cache and prunes it."""
