"""Interfaces and errors, imported from here: ``from diptych.core import Backbone, Card, Kit``.

``__init__.pyi`` lists the names. Importing this package loads none of them: each comes with its module when it is first
asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
