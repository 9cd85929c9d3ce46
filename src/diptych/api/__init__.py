"""What ``import diptych`` offers: models, the verbs as functions of one call, and results that print and convert."""
