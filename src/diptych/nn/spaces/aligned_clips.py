"""The net of ILA round a frozen image tower, and what it gives for clips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import Backbone, Inputs, Parts, Run, Samples, Stage, State, Texts
from diptych.features.clips import ClipEncoder, OfClips
from diptych.features.derived_space import ConditionedSpace, base_of, parts_of, restored
from diptych.features.embed import embed
from diptych.nn.spaces.aligned_frames import AlignedFrames, ClipPrompts, FrameNorm, Integration


@dataclass(frozen=True)
class Seen:
    """What a clip encoder gives.

    Args:
        clip: (B, D) embeddings of the clips, not normalised.
        tokens: (B, P, C) patch tokens after the last block, normed, then the mean over the frames.
        gaps: of the blocks, scalars.
        points: (B, T - 1, 2, 2) points x, y of each block, in the first and the second frame of each pair.
    """

    clip: Tensor
    tokens: Tensor
    gaps: tuple[Tensor, ...]
    points: tuple[Tensor, ...]


class ILANet(nn.Module):
    """The trained parts, round the frozen image tower of a backbone.

    Args:
        backbone: with an image tower.
        frames: T.
        blocks: last blocks of the tower that see neighbours; None: all.
        hidden: channels of the maps of a pair.
        together: clips whose statistics BatchNorm takes in tests; 0: the running ones.

    Raises:
        MissingHook: the backbone has no image tower.
    """

    def __init__(self, backbone: Backbone, frames: int, blocks: int | None, hidden: int, together: int = 0) -> None:
        super().__init__()
        self.tower, self.frames, self.blocks, self.hidden = backbone.tower("image"), frames, blocks, hidden
        self.together = together
        width, dim = self.tower.width, backbone.image.dim
        self.first = max(0, self.tower.depth - (blocks or self.tower.depth))
        self.align = nn.ModuleList(AlignedFrames(width, hidden) for _ in range(self.first, self.tower.depth))
        self.integration = Integration(dim, frames)
        self.prompts = ClipPrompts(width, dim)
        for part in self.align.modules():
            if isinstance(part, FrameNorm):
                part.of_batch = together > 0

    def start(self, x: Tensor) -> State:
        """Return the state before the first block that sees neighbours, of (B, T, 3, S, S) pixels."""
        return self.tower.blocks(self.tower.start(x.flatten(0, 1)), 0, self.first)

    def forward(self, s: State, shift: float | None = None) -> Seen:
        """Return what is seen from a state of B T frames; ``shift``: see ``soft_mask``."""
        gaps, points = [], []

        def edit(stage: Stage, i: int, s: State) -> State:
            if stage != "before" or i < self.first:
                return s
            assert s.grid is not None
            more, apart, where = self.align[i - self.first](s.h, self.frames, s.grid, s.prefix, shift)
            gaps.append(apart)
            points.append(where)
            return replace(s, h=s.h + more)

        s = self.tower.blocks(s, self.first, edit=edit)
        each = torch.unflatten(self.tower.project(self.tower.pooled(s)).float(), 0, (-1, self.frames))
        tokens = self.prompts.read(s.h[:, s.prefix :], self.frames)
        return Seen(self.integration(each), tokens, tuple(gaps), tuple(points))


def cosines(net: ILANet, seen: Seen, texts: Tensor) -> Tensor:
    """Return the (B, K) cosines of clips with (K, D) texts, conditioned on the clips."""
    w = normalize(net.prompts(texts, seen.tokens), dim=-1)
    return (normalize(seen.clip, dim=-1)[:, None] * w).sum(-1)


@dataclass(frozen=True, eq=False)
class ILAEncoder(OfClips):
    """Encodes clips by the net: their embeddings, or these and the patch tokens, flattened.

    Args:
        clips: makes the pixels.
        net: in eval mode.
        fingerprint: of the backbone and the net.
        tokens: number of values of the patch tokens; 0 leaves them out.
    """

    clips: ClipEncoder
    net: ILANet
    fingerprint: str
    tokens: int = 0

    @property
    def dim(self) -> int:
        """Joint width D, and that of the tokens."""
        return self.clips.dim + self.tokens

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings, not normalised, of (B, T, 3, S, S) pixels."""
        assert isinstance(x, Tensor)
        x = x.to(next(self.net.parameters()).device)
        groups = torch.split(x, self.net.together) if self.net.together else (x,)
        return torch.cat([self._encoded(part) for part in groups])

    def _encoded(self, x: Tensor) -> Tensor:
        seen: Seen = self.net(self.net.start(x))
        return torch.cat([seen.clip, seen.tokens.flatten(1).float()], 1) if self.tokens else seen.clip


@dataclass(frozen=True, eq=False)
class StartTokens(OfClips):
    """Encodes clips as their tokens before the first aligned block, flattened.

    Args:
        clips: makes the pixels.
        net: with the frozen tower.
        dim: number of values.
    """

    clips: ClipEncoder
    net: ILANet
    dim: int

    @property
    def fingerprint(self) -> str:
        """Hash of the clips' encoder and the block."""
        return hashlib.sha256(f"{self.clips.fingerprint}/before block {self.net.first}".encode()).hexdigest()[:16]

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, T L C) tokens."""
        assert isinstance(x, Tensor)
        h = self.net.start(x.to(next(self.net.parameters()).device)).h
        return h.float().reshape(len(x), -1)


class ILASpace(ConditionedSpace):
    """The space of a backbone with clips, whose texts are conditioned on the clip where ``cosines`` is asked.

    Args:
        base: the frozen backbone.
        net: trained, in eval mode.
        frames: T.
    """

    def __init__(self, base: Backbone, net: ILANet, frames: int) -> None:
        learnt = b"".join(t.detach().cpu().numpy().tobytes() for t in net.state_dict().values())
        facts = f"{base.image.fingerprint}/{frames}/{net.first}" + (f"/{net.together}" if net.together else "")
        digest = hashlib.sha256(facts.encode() + learnt).hexdigest()[:16]
        self.frames = frames
        self.encoder = ILAEncoder(ClipEncoder(base.image, frames), net, digest)
        parts = nn.ModuleDict({"base": base.module(), "ila": net}).eval()
        super().__init__(base, self.encoder, suffix=f"ila-{digest[:6]}-frames{frames}", module=parts)

    def parts(self) -> Parts:
        """Return the sizes and the tensors of the net."""
        net = self.encoder.net
        settings = {"frames": net.frames, "blocks": net.blocks, "hidden": net.hidden, "together": net.together}
        return parts_of(self, settings, net)

    @classmethod
    def of_parts(cls, parts: Parts) -> ILASpace:
        """Return the space of these parts."""
        base, _ = base_of(parts)
        frames, blocks, hidden = (parts.settings[name] for name in ("frames", "blocks", "hidden"))
        together = int(parts.settings.get("together", 0))  # folders of earlier versions do not say
        return cls(base, restored(lambda: ILANet(base, frames, blocks, hidden, together), parts), frames)

    def cosines(self, items: Samples[Any], texts: Sequence[str], run: Run) -> Tensor:
        """Return the (N, K) cosines of clips with texts, conditioned on the clips.

        Where clips are encoded together, what one gives depends on its neighbours: nothing is stored, or read.
        """
        net, device = self.encoder.net, next(self.encoder.net.parameters()).device
        with torch.no_grad():
            blank = torch.zeros(1, net.frames, 3, *(2 * [self.encoder.size or 224]), device=device)
            count = net(net.start(blank)).tokens.numel()
        both = replace(self.encoder, tokens=count, fingerprint=f"{self.encoder.fingerprint}-tokens")
        w = embed(self.text, Texts(tuple(texts)), run).to(device)
        rows = []
        if net.together:
            run = replace(run, cache=None, shared_cache=None, batch=max(run.batch // net.together, 1) * net.together)
        with torch.no_grad():
            for part in torch.split(embed(both, items, run).to(device), 64):
                clip, tokens = part[:, : self.encoder.dim], part[:, self.encoder.dim :]
                seen = Seen(clip, tokens.reshape(len(part), -1, net.tower.width), (), ())
                rows.append(cosines(net, seen, w).cpu())
        return torch.cat(rows)
