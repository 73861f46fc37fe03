"""What to make and how to judge it: every knob, read from TOML and --set."""
