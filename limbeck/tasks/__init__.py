"""The jobs: one file or folder each."""
