"""A teacher's answers become a training set: ask, keep, write once."""
