"""How fast Agoge is: what it adds, what it bears, what it costs, and how that grows. `make bench` runs it all."""
