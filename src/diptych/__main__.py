"""``python -m diptych`` is the command line."""

from diptych.cli.__main__ import main

main()
