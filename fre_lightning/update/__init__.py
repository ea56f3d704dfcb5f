"""The command that lets a detector learn later good parts."""
