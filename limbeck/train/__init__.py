"""The only training loop: data packed once, batches by length, exact resume, EMA, early stop."""
