"""`python -m mssts`: the command line, from the clone without installation."""

from mssts.cli import main

main()
