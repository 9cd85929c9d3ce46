"""``python -m proofs SLUG`` is ``diptych prove SLUG``."""

import sys

from diptych.cli.signals import main

sys.argv[1:1] = ["prove"]
main()
