"""Proof by behaviour that an engine's blends act: no status, header or field of any engine tells.

`distance` compares what was heard, `proof` asks one engine everything once, `verdicts` remembers, and `proven` is
the backend that serves only what was proved. Knows engines through the port only.
"""
