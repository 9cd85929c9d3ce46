"""``python -m proofs SLUG`` is ``diptych prove SLUG``."""

import sys

from diptych.cli.__main__ import main

sys.argv[1:1] = ["prove"]
main()
