"""One run: plan, pages, batches, send, commit."""
