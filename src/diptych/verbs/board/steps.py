"""The steps of ``board``."""

from __future__ import annotations

from diptych.verbs.board.audit import BoardAudit
from diptych.verbs.board.classify import BoardClassify
from diptych.verbs.board.few_shot import BoardFewShot
from diptych.verbs.board.segment import BoardSegment
from diptych.verbs.board.several_labels import BoardSeveralLabels
from diptych.verbs.board.systems import BoardCaption, BoardCurate, BoardDetect, BoardExtend, BoardRetrieve
from diptych.verbs.board.tune import BoardFinetune, BoardPretrain
from diptych.verbs.group import Group

BOARD = Group(
    "board",
    "Measure every fitting system on one data set.",
    (
        BoardClassify, BoardDetect, BoardRetrieve, BoardSegment, BoardAudit, BoardCaption, BoardCurate, BoardExtend,
        BoardFinetune, BoardPretrain, BoardSeveralLabels, BoardFewShot,
    ),
)  # fmt: skip
