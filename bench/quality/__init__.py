"""How well the classifier does, beside others, on public sets: `python -m bench.quality --data FOLDER`."""
