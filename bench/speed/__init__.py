"""How fast Agoge is: what it adds, what it can bear, what it costs, and how that grows. `make bench` runs all of it."""
