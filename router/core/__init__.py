"""The pure heart: values and functions with no await, clock, log or I/O. Standard library only."""
