"""The systems that verbs run where none is named. Loads nothing."""

from __future__ import annotations

CLASSIFIER = "zero-shot"
SEGMENTER = "maskclip"
DETECTOR = "feature-memory"
WORD_DETECTOR = "winclip-style"
"""Where there are words for what the photos show."""
CAPTIONER = "nearest-caption"
EDITOR, EDITOR_ROW = "deltaedit", "small"
REWRITER, REWRITER_ROW = "uf-fgtg", "small"
RETRIEVER = "clippings"
RETRIEVER_ROWS = {True: "maps", False: "mean"}
"""With and without labelled pairs."""
CURATOR, SCORE_CURATOR = "metaclip", "clip-score"
LABEL_CURATOR, SLIDE_CURATOR = "biomedica", "pathgen"
DUPLICATE_CURATOR, HEAD_CURATOR, TEXT_CURATOR = "semdedup", "vector-head", "caption-checks"
CLIP_TUNER, CLIP_ALIGNER = "vifi-clip", "ila"
"""What learns from clips: the backbone itself, blind to the order of frames; parts beside it, which see the order."""
FINETUNING, PRETRAINING = "wise-ft", "clip-loss"
DEMO = (CLASSIFIER, "linear-probe", "tip-adapter", "tip-adapter-f", "gda")
"""What the demo compares: systems that need nothing but photos and names, and end in minutes."""
