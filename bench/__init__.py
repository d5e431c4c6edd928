"""Repeatable measurements. Each module is a command that prints its figures and what they were measured on."""
