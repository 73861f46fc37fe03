"""Bash one-liners: reading, scoring and explaining them."""
