"""Lines of Python from English: loading, scoring."""
