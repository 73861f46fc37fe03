"""The small networks: an autoregressive one, CODEFUSION, and its masked twin, in one shape and with one size dial."""
