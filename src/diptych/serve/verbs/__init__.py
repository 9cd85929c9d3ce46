"""The verbs of the command line over HTTP: classify, search, segment, detect, caption."""
