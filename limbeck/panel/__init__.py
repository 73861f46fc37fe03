"""Several answerers that act as one: votes, the best of many, summing up, debate, cascade, router; and who should sit in it."""
