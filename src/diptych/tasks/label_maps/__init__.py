"""Label maps: what a segmenter is asked, its answer as files, and what is promised of its pixels."""
