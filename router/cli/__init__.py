"""The `agoge` command: one module per verb group, each imported only when its verb is called."""
