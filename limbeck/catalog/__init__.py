"""What is claimed of each model: size with standing and source, price, context, published scores."""
