"""From rows to the bytes of requests, without I/O."""
