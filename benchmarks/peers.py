"""What the peers make of a model: transformers' copy of open_clip's weights, and plain ONNX Runtime and OpenVINO on one
exported graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.backbones.engines.runtimes.onnx import onnxruntime
from diptych.backbones.engines.runtimes.openvino import openvino
from diptych.backbones.engines.runtimes.signal_stack import separate_signal_stack

CLIP_END = 49407
"""End token of CLIP's vocabulary."""


class Named(nn.Module):
    """A forward by the names of its inputs, for the exporter.

    Args:
        model: holds the parameters.
        forward: from the inputs, in the order of ``names``, to vectors.
    """

    def __init__(self, model: nn.Module, forward: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self._forward = model, forward

    def forward(self, *parts: Tensor) -> Tensor:
        return self._forward(*parts)


def write_graph(
    model: nn.Module, forward: Callable[..., Tensor], parts: Mapping[str, Tensor], path: Path, *, any_length: bool
) -> Path:
    """Export a forward by torch's own exporter, with a free batch size, and for texts a free length."""
    torch.backends.mha.set_fastpath_enabled(False)  # the fused attention of inference has no ONNX form
    try:
        with torch.no_grad():
            torch.onnx.export(
                Named(model, forward).eval(), tuple(parts.values()), str(path), input_names=list(parts),
                output_names=["vectors"],
                dynamic_axes=dict.fromkeys(parts, {0: "batch", 1: "length"} if any_length else {0: "batch"}),
                opset_version=17,
                dynamo=False,
            )  # fmt: skip
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return path


def onnxruntime_plain(graph: Path) -> Callable[[Mapping[str, Tensor]], Any]:
    """Return a session with ONNX Runtime's defaults, but for its telemetry."""
    session = onnxruntime().InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return lambda parts: session.run(None, {name: np.asarray(part) for name, part in parts.items()})[0]


def openvino_plain(graph: Path, precision: str) -> Callable[[Mapping[str, Tensor]], Any]:
    """Return a compiled model with OpenVINO's defaults, but for its telemetry, and a precision, "f32" or "bf16"."""
    ov = openvino()
    with separate_signal_stack():
        compiled = ov.Core().compile_model(ov.convert_model(str(graph)), "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda parts: next(iter(compiled({name: np.asarray(part) for name, part in parts.items()}).values())).copy()


def transformers_clip(model: nn.Module, config: Mapping[str, Any]) -> Any:
    """Return transformers' ``CLIPModel`` with the weights of open_clip's ``CLIP``: the same geometry, the same vectors.

    Args:
        model: open_clip's.
        config: its ``model_cfg``.
    """
    import transformers

    vision, text, dim = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    act = "quick_gelu" if config.get("quick_gelu") else "gelu"
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={
                "hidden_size": vision["width"], "intermediate_size": 4 * vision["width"],
                "num_hidden_layers": vision["layers"],
                "num_attention_heads": vision["width"] // vision.get("head_width", 64),
                "image_size": vision["image_size"],
                "patch_size": vision["patch_size"], "hidden_act": act, "projection_dim": dim,
            },
            text_config={
                "hidden_size": text["width"], "intermediate_size": 4 * text["width"],
                "num_hidden_layers": text["layers"],
                "num_attention_heads": text["heads"], "vocab_size": text["vocab_size"], "hidden_act": act,
                "projection_dim": dim,
                "max_position_embeddings": text["context_length"], "eos_token_id": CLIP_END,
                "bos_token_id": CLIP_END - 1,
            },
            projection_dim=dim,
        )
    )  # fmt: skip
    clip.load_state_dict(_renamed(model.state_dict()), strict=False)
    return clip.eval()


ONCE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "logit_scale": "logit_scale",
}
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
TURNED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return open_clip's tensors by transformers' names; queries, keys and values lie in one tensor there, in three
    here.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".resblocks." in name:
            tower = "vision_model" if name.startswith("visual.") else "text_model"
            number, rest = name.split(".resblocks.")[1].split(".", 1)
            place = f"{tower}.encoder.layers.{number}."
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                out |= {
                    f"{place}self_attn.{p}_proj.{kind}": part for p, part in zip("qkv", tensor.chunk(3), strict=True)
                }
            else:
                module, kind = rest.rsplit(".", 1)
                out[f"{place}{BLOCK[module]}.{kind}"] = tensor
        elif name in TURNED:
            out[TURNED[name]] = tensor.T.contiguous()
        elif name in ONCE:
            out[ONCE[name]] = tensor
        elif (module := name.rsplit(".", 1)[0]) in ONCE:
            out[f"{ONCE[module]}.{name.rsplit('.', 1)[1]}"] = tensor
    return out


def clip_tokenizer() -> Any:
    """Return transformers' tokenizer over the merges that open_clip ships: no hub."""
    from open_clip import SimpleTokenizer
    from transformers import CLIPTokenizer

    bpe = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {names.get(word, word): number for word, number in bpe.encoder.items()}
    return CLIPTokenizer(vocab=vocab, merges=sorted(bpe.bpe_ranks, key=bpe.bpe_ranks.__getitem__))


def features(output: Any) -> Tensor:
    """Return the projected vectors: a tensor in transformers 4, ``pooler_output`` in 5."""
    vectors: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vectors


def sentence_transformer() -> Callable[[Sequence[str]], Tensor]:
    """Return sentence-transformers' encode of MiniLM, from the package that holds its files."""
    from sentence_transformers import SentenceTransformer

    from diptych.backbones.lite_files import TEXT, packaged

    model = SentenceTransformer(str(packaged(*TEXT).parent), device="cpu", local_files_only=True)
    return lambda texts: model.encode(
        list(texts), batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False
    )
