"""Prefer better answers: rules, rewards, pairs, and both sides of the scale."""
