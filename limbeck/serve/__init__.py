"""Answer requests over HTTP as OpenAI's clients ask them: requests, replies, batches, the application and its page."""
