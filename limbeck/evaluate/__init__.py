"""How good, how sure: ask, judge, count, compare."""
