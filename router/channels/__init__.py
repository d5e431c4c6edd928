"""Ways in: each turns a wire format into an Ask, and a Routed reply back into that wire format."""
