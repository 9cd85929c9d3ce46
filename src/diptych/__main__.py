"""``python -m diptych`` is the command line."""

from diptych.cli.main import main

main()
