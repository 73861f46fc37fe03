"""limbeck distils a big language model into a small expert, and proves how small it can be."""

__version__ = "0.1.0"
