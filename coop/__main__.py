"""`python -m coop` is the command `coop`."""

from coop.cli import main

main()
