"""``python -m diptych.cli`` is ``diptych``."""

from diptych.cli.main import main

main()
