"""Where facts go. A sink is quick, never raises, and never sees prompt text."""
