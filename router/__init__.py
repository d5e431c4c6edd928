"""Agoge's service: moves a prompt from the wire to the LoRA adapters that should speak, and back."""

__version__ = "0.1.0"
