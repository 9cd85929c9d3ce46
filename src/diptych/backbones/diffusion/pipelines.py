"""Pipelines of diffusers as a part: a denoiser, an autoencoder, and text encoders with their tokenizers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

import torch
from torch import Tensor

from diptych.backbones.diffusion.pipeline_texts import PipelineTexts, Texts
from diptych.core import AttentionHook, Condition, Site, TextReading
from diptych.core.diffusion import Widened


class Pipeline(ABC):
    """A pipeline of diffusers, read from a folder, as a ``TextDiffusion``: what all layouts share.

    Networks compute in their own precision; latents, pictures and predictions keep that of the latents.

    Attributes:
        autoencoder: diffusers' AutoencoderKL; None: latents are pictures in [-1, 1].
        texts: reads texts.
        scheduler: configuration of the folder's scheduler.
        folder: from which it was read; "": none.
    """

    autoencoder: Any
    texts: Texts
    scheduler: Mapping[str, Any]
    folder: str

    @property
    @abstractmethod
    def network(self) -> Any:
        """The denoiser's network in diffusers."""

    @property
    @abstractmethod
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each step."""

    @abstractmethod
    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise; see ``TextDiffusion``."""

    @abstractmethod
    def output(self, z: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """Return what the network itself predicts, of the size and precision of z, for the schedulers of diffusers.

        Args:
            z: (B, C, h, w) latents, as the network reads them.
            t: (B,) steps of a scheduler.
            condition: of B texts.
        """

    @abstractmethod
    def facts(self) -> str:
        """Return what predictions depend on beside weights."""

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return self.latent[1] * self._scale

    @property
    def latent(self) -> tuple[int, int, int]:
        """Size of a latent."""
        side = int(self.network.config.sample_size)
        return int(self.network.config.in_channels), side, side

    @property
    def reading(self) -> TextReading | None:
        """How it reads one text tower; None: it reads several text encoders."""
        return self.texts.reading

    @property
    def _scale(self) -> int:
        return 1 if self.autoencoder is None else 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all weights, and of how texts are read."""
        digest = hashlib.sha256(self.facts().encode())
        for module in self.modules():
            digest.update(str(module.dtype).encode())
            for name, t in sorted(module.state_dict().items()):
                digest.update(name.encode() + t.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def modules(self) -> list[Any]:
        """Return all networks."""
        every = [self.network, self.autoencoder, *self.texts.encoders]
        return [module for module in every if module is not None]

    def to(self, device: torch.device | str) -> Self:
        """Move all networks to a device, and return itself."""
        for module in self.modules():
            module.to(device)
        return self

    def encode_text(self, texts: Sequence[str], /) -> Condition:
        """Return what the text encoders give for B texts, see ``pipeline_texts`` and ``flow_texts``."""
        return self.texts.encode(texts)

    def places(self, text: str, words: str, /) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` in the condition of ``text``."""
        return self.texts.places(text, words)

    def pooled(self, condition: Condition) -> Tensor:
        """Return (B, P) pooled vectors; those of no text for tokens of something else than texts."""
        pooled = condition.pooled
        if pooled is None:
            pooled = self.encode_text([""]).pooled
            assert pooled is not None  # see ``pipeline_folders`` and ``flow_folders``
            pooled = pooled.expand(len(condition), -1)
        return pooled

    @torch.no_grad()
    def to_latent(self, pictures: Tensor, /) -> Tensor:
        """Return the mean of the autoencoder's latents, shifted and scaled as in training."""
        x = pictures * 2 - 1
        if self.autoencoder is None:
            return x
        config = self.autoencoder.config
        mean: Tensor = self.autoencoder.encode(x.to(self.autoencoder.dtype)).latent_dist.mean
        return ((mean - (config.shift_factor or 0.0)) * config.scaling_factor).to(pictures)

    @torch.no_grad()
    def from_latent(self, z: Tensor, /) -> Tensor:
        """Return the decoded pictures in [0, 1], clipped."""
        x = z
        if self.autoencoder is not None:
            config = self.autoencoder.config
            x = z / config.scaling_factor + (config.shift_factor or 0.0)
            x = self.autoencoder.decode(x.to(self.autoencoder.dtype)).sample
        return ((x.float() + 1) / 2).clamp(0, 1)


@dataclass(frozen=True)
class PipelineDiffusion(Pipeline):
    """A pipeline in the layout of Stable Diffusion 1, 2 or XL, whose U-Net predicts noise or v.

    Args:
        unet: diffusers' UNet2DConditionModel.
        autoencoder: its AutoencoderKL; None: latents are pictures in [-1, 1].
        texts: reads texts.
        betas: (T,) noise added by each step of the training.
        predicts: "epsilon" or "v_prediction".
        scheduler: configuration of the folder's scheduler.
        folder: from which it was read; "": none.
    """

    unet: Any
    autoencoder: Any
    texts: PipelineTexts
    betas: Tensor
    predicts: Literal["epsilon", "v_prediction"] = "epsilon"
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""

    @property
    def network(self) -> Any:
        """The U-Net."""
        return self.unet

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each step."""
        return torch.cumprod(1 - self.betas.double(), 0)

    def facts(self) -> str:
        """Return what predictions depend on beside weights."""
        layers = [(part.penultimate, part.context, part.tokenizer.pad_token_id) for part in self.texts.parts]
        return f"{self.predicts}/{self.betas.tolist()}/{self.texts.empty_is_zero}/{layers}"

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise; a hook sees every attention layer of the U-Net, whose own processors come back after."""
        out = self.output(z, t, condition, hook)
        if self.predicts == "epsilon":
            return out
        a = self.alphas_cumprod[t.cpu()].to(z)[:, None, None, None]
        return a.sqrt() * out + (1 - a).sqrt() * z

    def output(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Return what the U-Net predicts, noise or v, of the size and precision of z; see ``eps``."""
        before = self.unet.attn_processors if hook is not None else {}
        if hook is not None:
            self.unet.set_attn_processor(
                {name: HookedAttention(site, hook) for name, site in sites_of(list(before)).items()}
            )
        dtype = self.unet.dtype
        try:
            out: Tensor = self.unet(
                z.to(dtype),
                t,
                encoder_hidden_states=condition.tokens.to(dtype),
                encoder_attention_mask=condition.mask,
                added_cond_kwargs=self._added(condition),
            ).sample
        finally:
            if hook is not None:
                self.unet.set_attn_processor(before)
        return out.to(z.dtype)

    def _added(self, condition: Condition) -> dict[str, Tensor] | None:
        """Return what SDXL reads beside the tokens: the pooled text, and sizes: a whole picture, not cropped."""
        if self.unet.config.addition_embed_type is None:
            return None
        many, dtype, pooled = len(condition), self.unet.dtype, self.pooled(condition)
        sizes = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]], dtype=dtype, device=pooled.device)
        return {"text_embeds": pooled.to(dtype), "time_ids": sizes.expand(many, -1)}


def sites_of(names: Sequence[str]) -> dict[str, Site]:
    """Return the site of each attention processor of a U-Net, by its name: "attn1" is self-attention, "attn2" cross;
    numbers follow the order in which the blocks run.
    """

    def run_order(name: str) -> tuple[int, list[int]]:
        stage = ("down", "mid", "up").index(name.split("_")[0])
        return stage, [int(part) for part in name.split(".") if part.isdigit()]

    counts = {"self": 0, "cross": 0}
    sites: dict[str, Site] = {}
    for name in sorted(names, key=run_order):
        kind: Literal["self", "cross"] = "self" if ".attn1." in name else "cross"
        sites[name] = Site(kind, name.split("_")[0], counts[kind])  # type: ignore[arg-type]
        counts[kind] += 1
    return {name: sites[name] for name in names}


class HookedAttention:
    """A processor of diffusers that shows its probabilities to a hook.

    Args:
        hook: sees and may replace the (B, heads, Q, K) probabilities.
    """

    def __init__(self, site: Site, hook: AttentionHook) -> None:
        self.site, self.hook = site, hook

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *unused: Any,
        **also_unused: Any,
    ) -> Tensor:
        """Attend, as the layers of a transformer block in a U-Net do: (B, Q, C) in and out."""
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        seen = Widened.read(self.hook, self.site, seen)
        mask = attn.prepare_attention_mask(attention_mask, seen.shape[1], len(seen))
        q, k, v = (
            attn.head_to_batch_dim(f(x)) for f, x in ((attn.to_q, hidden_states), (attn.to_k, seen), (attn.to_v, seen))
        )
        probabilities: Tensor = attn.get_attention_scores(q, k, mask)
        shown = probabilities.reshape(len(seen), attn.heads, *probabilities.shape[1:])
        replaced = self.hook(self.site, shown)
        if replaced is not None:
            probabilities = replaced.to(probabilities).flatten(0, 1)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(probabilities @ v)))
