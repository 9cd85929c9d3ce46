"""The verbs of ``board``: every fitting system of a verb on the same data, and what all boards share."""
