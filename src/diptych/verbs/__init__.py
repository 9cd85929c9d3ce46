"""What users ask for: each verb declared once, as the dataclass of its arguments; its faces are derived from it."""
