"""Tower classes of modules, by the names of the modules' classes, so that no library is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from torch import nn

from diptych.backbones.towers.bert import BertTower
from diptych.backbones.towers.hf_clip import HFImageTower, HFTextTower
from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.residual import OpenClipImageTower, OpenClipTextTower
from diptych.backbones.towers.sam import SamTower
from diptych.backbones.towers.timm_vit import TimmTower
from diptych.core import MissingHook, UsageError

if TYPE_CHECKING:
    from diptych.core import Spec, Tower
_VISION = {"CLIPModel", "MetaClip2Model", "SiglipModel", "ChineseCLIPModel", "AltCLIPModel"}
_TEXT = {"CLIPModel", "MetaClip2Model", "SiglipModel", "Siglip2Model"}
_BERT_TEXT = {"ChineseCLIPModel", "AlignModel"}
_BERT = {"BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel"}
_POOLERS: dict[str, tuple[Literal["mean", "cls"], bool]] = {
    "MeanPooler": ("mean", False),
    "ClsPooler": ("cls", True),
    "ClsLastHiddenStatePooler": ("cls", False),
}


def tower_of(module: nn.Module, modality: str, spec: Spec) -> Tower:
    """Cut the tower of a modality out of a module.

    Args:
        module: open_clip CLIP, CoCa or CustomTextCLIP; transformers' CLIP, MetaCLIP 2, SigLIP, Chinese-CLIP, AltCLIP,
            and the text of ALIGN and SigLIP 2; a bare open_clip tower, timm ViT or Eva, SAM vision encoder, or
            BERT-like encoder.
        modality: "image" or "text".
        spec: gives the name for messages and, for a bare BERT, the pooling ("mean" or "cls").

    Raises:
        MissingHook: no tower of ours cuts this module.
        UsageError: another modality.
    """
    if modality not in ("image", "text"):
        raise UsageError(f"A tower is of modality 'image' or 'text', not {modality!r}.")
    return image_tower_of(module, spec) if modality == "image" else _text_tower_of(module, spec)


def image_tower_of(module: Any, spec: Spec) -> ImageTower:
    """Cut the image tower out of a module; see ``tower_of``."""
    kinds = class_names(module)
    if kinds & _VISION:
        return HFImageTower(module.vision_model, getattr(module, "visual_projection", None), spec.name)
    if hasattr(module, "visual"):
        return image_tower_of(module.visual, spec)
    if "TimmModel" in kinds and is_timm_vit(module.trunk):
        return TimmTower(module.trunk, module.head, spec.name)
    if is_timm_vit(module):
        return TimmTower(module, None, spec.name)
    if "SamVisionEncoder" in kinds:
        return SamTower(module, spec.name)
    if "open_clip.VisionTransformer" in kinds:
        return OpenClipImageTower(module, spec.name)
    raise _missing(module, "image", spec)


def _text_tower_of(module: Any, spec: Spec) -> OpenClipTextTower | HFTextTower | BertTower:
    kinds = class_names(module)
    if kinds & _TEXT:
        return HFTextTower(module.text_model, getattr(module, "text_projection", None), spec.name)
    if kinds & _BERT_TEXT:
        return BertTower(module.text_model, "cls", module.text_projection, None, spec.name)
    if "AltCLIPModel" in kinds:
        text = module.text_model
        head = nn.Sequential(text.transformation, module.text_projection)
        return BertTower(text.roberta, "cls", head, None, spec.name, norm=text.pre_LN)
    if "HFTextEncoder" in kinds:
        pooler = type(module.pooler).__name__
        if pooler not in _POOLERS or not class_names(module.transformer) & _BERT:
            raise _missing(module.transformer if pooler in _POOLERS else module.pooler, "text", spec)
        pooling, dense = _POOLERS[pooler]
        dense = dense and getattr(module.pooler, "use_pooler_output", False)
        return BertTower(
            module.transformer, pooling, module.proj, module.transformer.pooler if dense else None, spec.name
        )
    if kinds & _BERT:
        if spec.pooling not in ("mean", "cls"):
            raise UsageError(
                f"{spec.name} pools by {spec.pooling!r}, but a BERT tower pools by 'mean' or 'cls': mend the spec."
            )
        return BertTower(module, cast("Literal['mean', 'cls']", spec.pooling), None, None, spec.name)
    if hasattr(module, "text"):
        return _text_tower_of(module.text, spec)
    if hasattr(module, "token_embedding") and hasattr(getattr(module, "transformer", None), "resblocks"):
        return OpenClipTextTower(module, spec.name)
    raise _missing(module, "text", spec)


def is_timm_vit(module: Any) -> bool:
    """Whether a module is a timm VisionTransformer or Eva."""
    return bool(class_names(module) & {"timm.VisionTransformer", "timm.Eva"})


def class_names(module: Any) -> set[str]:
    """Return the names of a module's classes, bare ("CLIP") and with their library ("open_clip.CLIP")."""
    names = [(c.__module__.split(".")[0], c.__name__) for c in type(module).__mro__]
    return {name for _, name in names} | {f"{library}.{name}" for library, name in names}


def _missing(module: Any, modality: str, spec: Spec) -> MissingHook:
    return MissingHook(
        f"The {modality} part of {spec.name} is a {type(module).__name__}, which cannot be cut in blocks: "
        "use a ViT or CLIP text backbone, such as tiny or openclip:ViT-B-32."
    )
