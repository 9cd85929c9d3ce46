"""``python -m diptych.cli`` is ``diptych``."""

from __future__ import annotations

import sys

from diptych.cli.signals import INTERRUPTED, Signals


def main() -> None:
    """Run the command line, which hears signals from its first moment on: its imports take longer than some answers."""
    signals = Signals().hear()
    try:
        from diptych.cli.main import main as run

        signals.settle()
        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED)
    finally:
        if signals.number and getattr(sys.exception(), "code", INTERRUPTED) == INTERRUPTED:
            signals.end()


if __name__ == "__main__":
    main()
