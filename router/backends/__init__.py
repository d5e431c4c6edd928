"""LLM engines behind the `Backend` port, one module per vendor; each knows `core` and its vendor only."""
