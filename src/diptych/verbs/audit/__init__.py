"""The verbs of ``audit``: where a model fails, which captions are wrong, and what all steps share."""
