"""Systems that rewrite prompts for a text-to-image model."""
