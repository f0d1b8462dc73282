"""`python -m pajama`: the same as `pajama`."""

from pajama.cli import main

main()
