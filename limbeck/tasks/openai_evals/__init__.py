"""Files of OpenAI Evals (github.com/openai/evals) as tasks: its registry, its samples, its verdict rules, nothing of its code."""
