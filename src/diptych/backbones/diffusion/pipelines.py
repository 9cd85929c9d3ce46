"""Pipelines of diffusers as a part: a U-Net, an autoencoder, a text encoder and its tokenizer, from a local folder.

Only safetensors are read, and no code of the folder runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from diptych.core import AttentionHook, Condition, DataError, MissingExtra, Site, UsageError


@dataclass(frozen=True)
class PipelineDiffusion:
    """The denoiser of a pipeline in the layout of Stable Diffusion.

    Args:
        unet: diffusers' UNet2DConditionModel.
        autoencoder: its AutoencoderKL; None: latents are pictures in [-1, 1].
        text_encoder: transformers' CLIPTextModel.
        betas: (T,) noise added by each step of the training.
        predicts: "epsilon" or "v_prediction".
    """

    unet: Any
    autoencoder: Any
    text_encoder: Any
    tokenizer: Any
    betas: Tensor
    predicts: Literal["epsilon", "v_prediction"] = "epsilon"

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return self.latent[1] * self._scale

    @property
    def latent(self) -> tuple[int, int, int]:
        """Size of a latent."""
        side = int(self.unet.config.sample_size)
        return int(self.unet.config.in_channels), side, side

    @property
    def _scale(self) -> int:
        return 1 if self.autoencoder is None else 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each step."""
        return torch.cumprod(1 - self.betas.double(), 0)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all weights."""
        digest = hashlib.sha256(f"{self.predicts}/{self.betas.tolist()}".encode())
        for module in (self.unet, self.autoencoder, self.text_encoder):
            for name, t in [] if module is None else sorted(module.state_dict().items()):
                digest.update(name.encode() + t.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str], /) -> Condition:
        """Return the last hidden states of the text encoder, padded to its context as in training."""
        ids = self._ids(texts)
        return Condition(self.text_encoder(ids.to(self.text_encoder.device)).last_hidden_state)

    def _ids(self, texts: Sequence[str]) -> Tensor:
        context = self.text_encoder.config.max_position_embeddings
        rows = self.tokenizer(list(texts), verbose=False)["input_ids"]
        for text, row in zip(texts, rows, strict=True):
            if len(row) > context:
                raise UsageError(
                    f"The text {text[:57]!r} has {len(row)} tokens and this model reads {context}: cut it."
                )
        pad = self.tokenizer.pad_token_id
        return torch.tensor([[*row, *[pad] * (context - len(row))] for row in rows])

    def places(self, text: str, words: str, /) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` in the condition of ``text``."""
        rows = self.tokenizer([text, words], verbose=False)["input_ids"]
        whole, part = rows[0], rows[1][1:-1]
        starts = [i for i in range(len(whole) - len(part) + 1) if part and whole[i : i + len(part)] == part]
        return tuple(i + k for i in starts for k in range(len(part)))

    @torch.no_grad()
    def to_latent(self, pictures: Tensor, /) -> Tensor:
        """Return the mean of the autoencoder's latents, scaled as in training."""
        x = pictures * 2 - 1
        if self.autoencoder is None:
            return x
        return self.autoencoder.encode(x).latent_dist.mean * self.autoencoder.config.scaling_factor

    @torch.no_grad()
    def from_latent(self, z: Tensor, /) -> Tensor:
        """Return the decoded pictures in [0, 1], clipped."""
        x = (
            z
            if self.autoencoder is None
            else self.autoencoder.decode(z / self.autoencoder.config.scaling_factor).sample
        )
        return ((x.float() + 1) / 2).clamp(0, 1)

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise; a hook sees every attention layer of the U-Net, whose own processors come back after."""
        before = self.unet.attn_processors if hook is not None else {}
        if hook is not None:
            self.unet.set_attn_processor(
                {name: HookedAttention(site, hook) for name, site in sites_of(list(before)).items()}
            )
        try:
            out: Tensor = self.unet(
                z, t, encoder_hidden_states=condition.tokens, encoder_attention_mask=condition.mask
            ).sample
        finally:
            if hook is not None:
                self.unet.set_attn_processor(before)
        if self.predicts == "epsilon":
            return out
        a = self.alphas_cumprod[t.cpu()].to(z)[:, None, None, None]
        return a.sqrt() * out + (1 - a).sqrt() * z


def sites_of(names: Sequence[str]) -> dict[str, Site]:
    """Return the site of each attention processor of a U-Net, by its name: "attn1" is self-attention, "attn2" cross;
    numbers follow the order in which the blocks run.
    """

    def run_order(name: str) -> tuple[int, list[int]]:
        place = ("down", "mid", "up").index(name.split("_")[0])
        return place, [int(part) for part in name.split(".") if part.isdigit()]

    counts = {"self": 0, "cross": 0}
    found: dict[str, Site] = {}
    for name in sorted(names, key=run_order):
        kind: Literal["self", "cross"] = "self" if ".attn1." in name else "cross"
        found[name] = Site(kind, name.split("_")[0], counts[kind])  # type: ignore[arg-type]
        counts[kind] += 1
    return {name: found[name] for name in names}


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


def load_pipeline(folder: Path) -> PipelineDiffusion:
    """Read a pipeline from a local folder, with the subfolders unet, vae (optional), text_encoder, tokenizer and
    scheduler.

    Raises:
        MissingExtra: diffusers is not installed.
        UsageError: there is no such folder.
        DataError: a part is missing, of another layout, or not in safetensors.
    """
    try:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    except ImportError:
        raise MissingExtra("diffusers", "diffusion", "A pipeline of diffusers") from None
    from transformers import CLIPTextModel, CLIPTokenizer

    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give one that holds a pipeline of diffusers.")
    safe: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    try:
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **safe)
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", **safe) if (folder / "vae").is_dir() else None
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", **safe)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder} holds no pipeline in the layout of Stable Diffusion in safetensors ({str(error)[:120]}): save "
            f"it with save_pretrained(folder, safe_serialization=True)."
        ) from error
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise DataError(f"{folder} predicts {scheduler.config.prediction_type!r}: give one that predicts epsilon or v.")
    for module in (unet, vae, text):
        if module is not None:
            module.eval().requires_grad_(False)
    return PipelineDiffusion(unet, vae, text, tokenizer, scheduler.betas, scheduler.config.prediction_type)
