"""``python -m diptych.cli`` is ``diptych``."""

from diptych.cli.signals import main

main()
