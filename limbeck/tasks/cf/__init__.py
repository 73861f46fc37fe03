"""English to a spreadsheet conditional-formatting rule that can be run and checked."""
