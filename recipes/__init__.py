"""How the embedded models and generators were trained; not part of the wheel. Run as python -m recipes.NAME."""
