"""Real clients against a real Agoge: what they send, what they understand, what they raise."""
