"""Where everything meets: the only place, with the command line, that knows router, classifiers and blends."""
