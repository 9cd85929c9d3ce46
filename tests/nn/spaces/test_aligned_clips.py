from __future__ import annotations

import torch

from diptych.core import Run
from diptych.features.clips import ClipEncoder
from diptych.nn.spaces.aligned_clips import ILANet
from tests.support.moving import clip_task
from tests.support.visual_backbone import VisualBackbone

RUN = Run(workers=1)


def test_at_the_start_the_frames_are_those_of_the_backbone() -> None:
    backbone = VisualBackbone()
    with RUN.seeded("x"):
        net = ILANet(backbone, 4, None, 16).eval()
    clips = ClipEncoder(backbone.image, 4)
    x = clips.inputs([clip_task()[1].items[0]])
    with torch.no_grad():
        seen = net(net.start(x))
        torch.testing.assert_close(seen.clip[0], net.integration(backbone.image.encode(x[0])[None])[0])
    assert len(seen.gaps) == 2
    assert all(p.abs().max() == 0 for p in seen.points)


def test_the_last_blocks_alone_see_neighbours() -> None:
    backbone = VisualBackbone()
    with RUN.seeded("x"):
        net = ILANet(backbone, 4, 1, 16).eval()
    assert (net.first, len(net.align)) == (1, 1)
    x = ClipEncoder(backbone.image, 4).inputs([clip_task()[1].items[i] for i in range(2)])
    with torch.no_grad():
        seen = net(net.start(x))
    assert (seen.clip.shape, seen.tokens.shape, len(seen.gaps)) == ((2, backbone.image.dim), (2, 16, 24), 1)
