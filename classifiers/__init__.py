"""Text -> scores: encoders, heads, calibration, training, evaluation. Knows no adapter, tenant, HTTP or LLM."""
