"""`python -m router.cli`: the `agoge` command where it is not on the PATH."""

from router.cli.main import main

main()
