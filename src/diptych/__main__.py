"""``python -m diptych`` is the command line."""

from diptych.cli.signals import main

main()
