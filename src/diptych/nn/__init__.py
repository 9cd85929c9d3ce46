"""Networks, losses, prompts and closed forms that systems share."""
