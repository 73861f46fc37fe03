"""What a reader sees: tables in the terminal, one page, a model card."""
