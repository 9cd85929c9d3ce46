"""Written by tools/systems_stub.py from the catalog: the systems by class name."""

from typing import Literal

from diptych.api.fitting import CaptionerSystem, ClassifierSystem, DetectorSystem, OtherSystem, SegmenterSystem
from diptych.data.words.contexts import Contexts
from diptych.nn.dense.label_maps import Windows
from diptych.nn.dense.mask_queries import MaskLayout
from diptych.nn.dense.prompted import Refinement
from diptych.nn.two_class_head import Head

class ACLIP(OtherSystem):
    """Train pairs on half of the patches of two crops, with two self-supervised losses."""
    def __init__(
        self,
        drop: float = 0.5,
        block: int | None = None,
        scale: tuple[float, float] = ...,
        recolour: bool = True,
        slow_side: float = 1.0,
        simclr: float = 1.0,
        byol: float = 2.0,
        temperature: float = 0.1,
        hidden: int = 4096,
        out: int = 256,
        momentum: float = 0.996,
        freeze_patches: bool = True,
        result: Literal["online", "slow"] = "slow",
    ) -> None: ...

class AnomalyCLIP(DetectorSystem):
    """Learn a normal and an anomalous prompt on anomalies of other things, and find anomalies of any thing
    with them.
    """
    def __init__(
        self,
        length: int = 12,
        deep: int = 4,
        depth: int = 9,
        layers: tuple[float, ...] = ...,
        stream: Literal["query-key", "value"] = "value",
        temperature: float = 0.07,
        local_weight: float = 4.0,
        blur: float = 4.0,
        class_norm: bool = True,
        side: int | None = None,
        rate: float = 0.001,
        batch: int = 8,
        epochs: int = 15,
    ) -> None: ...

class AstroM3(OtherSystem):
    """Train three towers without labels, so that the modalities of a star have near embeddings."""
    def __init__(
        self,
        length: int = 200,
        grid: tuple[float, float, int] = ...,
        width: int = 128,
        layers: int = 8,
        heads: int = 4,
        hidden: int = 512,
        facts: int = 512,
        dim: int = 512,
        dropouts: tuple[float, float, float] = ...,
        rate: float = 0.00392,
        epochs: int = 100,
        batch: int = 512,
        constants: int = 0,
        attention: Literal["full", "sparse"] = "full",
    ) -> None: ...

class AugCLIP(OtherSystem):
    """Score edits of pictures by the cosine to the ideal edit."""
    def __init__(self, c: float = 1.0, margin: float | None = None, centred: bool = False) -> None: ...

class BIOMEDICA(OtherSystem):
    """Label pictures by clusters, then keep, drop or thin pairs by label."""
    def __init__(
        self,
        votes: str = "",
        taxonomy: str = "",
        only: tuple[str, ...] = ...,
        drop: tuple[str, ...] = ...,
        most: float = float("inf"),
        clusters: int = 2000,
        components: int = 25,
        sample: int = 100000,
        least_side: int = 20,
    ) -> None: ...

class CLAP(ClassifierSystem):
    """Train one vector per class from the text embeddings, held back where zero-shot is right already."""
    def __init__(
        self,
        weight: float = 1.0,
        epochs: int = 300,
        rate: float = 0.1,
        batch: int = 256,
        views: int = 20,
        whole: bool = False,
    ) -> None: ...

class CLIP2Point(OtherSystem):
    """Embed point clouds in a space of photos and texts."""
    def __init__(
        self,
        tunes: Literal["full", "heads"] = "full",
        paths: Literal["both", "depth", "image"] = "both",
        cameras: tuple[tuple[float, float], ...] = ...,
        radius: float = 0.02,
        jitter: float = 0.1,
        temperature: float = 0.07,
        rate: float | None = None,
        epochs: int = 100,
        batch: int = 256,
        adapter_rate: float = 0.001,
        adapter_epochs: int = 100,
        adapter_batch: int = 32,
        hidden: int = 512,
        dropout: float = 0.075,
    ) -> None: ...

class CLIP4DM(OtherSystem):
    """Attribute the cosine of image and caption to the words of the caption, and mark the words that do
    not fit.
    """
    def __init__(
        self,
        choice: Literal["most-negative", "threshold"] = "threshold",
        threshold: float = -5e-05,
        layers: int = 3,
        template: str = "A photo depicts ",
    ) -> None: ...

class CLIPDINOiser(SegmenterSystem):
    """Train two convolutions on crops of unlabelled photos, and segment with the patches that they
    average.
    """
    def __init__(
        self,
        gamma: float = 0.2,
        delta: float = 0.99,
        windows: Windows = ...,
        photos: int = 48,
        steps: int = 120,
        batch: int = 4,
        rate: float = 0.001,
        background_rate: float = 0.01,
    ) -> None: ...

class CLIPInverter(OtherSystem):
    """Train adapters that let a text change an inversion, on pictures with captions."""
    def __init__(
        self,
        steps: int = 200000,
        refine: int = 20000,
        batch: int = 8,
        rate: float = 0.0005,
        refine_rate: float = 0.00015,
        scale: float = 0.1,
        mismatch: float = 0.75,
        cycle: float = 1.0,
        weights: tuple[float, ...] = ...,
        refine_weights: tuple[float, ...] = ...,
        near: float = 0.35,
        groups: int = 32,
        width: int = 512,
    ) -> None: ...

class CLIPLoss(OtherSystem):
    """Match pairs by a softmax over the batch."""
    def __init__(self, pair: tuple[str, str] = ..., chunk: int | None = None) -> None: ...

class CLIPMoE(OtherSystem):
    """Make a mixture of experts of a dense CLIP whose towers can be cut in blocks."""
    def __init__(
        self,
        experts: int = 4,
        top: int = 2,
        clusters: int = 3,
        layers: int | None = None,
        smoothing: float = 0.1,
        balance: float = 0.01,
        router_rate: float = 0.1,
        router_decay: float = 0.05,
    ) -> None: ...

class CLIPPINGS(OtherSystem):
    """Link records by the mean embedding of picture and text, trained on labelled matches if there are
    any.
    """
    def __init__(
        self,
        learns: Literal["maps", "nothing", "towers"] = "towers",
        weight: float = 0.5,
        temperature: float = 0.1,
        rate: float | None = None,
        epochs: int = 30,
        batch: int = 126,
        each: int = 3,
        hard: int = 0,
        rank: int = 64,
    ) -> None: ...

class CLIPScoreFilter(OtherSystem):
    """Keep the pairs of a pool with the highest cosines of image and text."""
    def __init__(self, share: float = 0.3, threshold: float | None = None) -> None: ...

class CLOC(OtherSystem):
    """Train pairs, and regions against their phrases through a prompter that is kept."""
    def __init__(
        self,
        weight: float = 1.0,
        regions: int = 4,
        same: float = 0.9,
        grounding: float = 1.0,
        pool: Literal["all", "prompt"] = "prompt",
    ) -> None: ...

class CLOOB(OtherSystem):
    """Match the retrievals of pairs, by a loss whose gradient does not vanish for good matches."""
    def __init__(
        self, inverse_temperature: float = 30.0, beta: float | None = 8.0, pair: tuple[str, str] = ...
    ) -> None: ...

class CapSAdapter(ClassifierSystem):
    """Add votes of captioned support images to the zero-shot classifier."""
    def __init__(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        delta: float | None = None,
        temperature: float = 0.5,
        prefix: str = "A photo of {}. ",
        words: int | None = None,
    ) -> None: ...

class CaptionChecks(OtherSystem):
    """Drop texts that are too short, too long, echoes of a file name or a prompt, or say something twice;
    and duplicates.
    """
    def __init__(self, least_words: int = 3, phrases: str = "", long: bool = True, near: bool = True) -> None: ...

class ClipReward(CaptionerSystem):
    """Train a captioner by likelihood, then on CLIPScore of its own samples, with a reward for grammar."""
    def __init__(
        self,
        tokens: Literal["patches", "pooled"] = "patches",
        lm_width: int = 128,
        layers: int = 2,
        limit: int = 16,
        epochs: int = 15,
        batch: int = 64,
        rate: float = 0.001,
        rewarded: int = 600,
        reward_batch: int = 32,
        reward_rate: float = 0.0003,
        samples: int = 5,
        weight: float = 2.0,
        grammar: float = 1.0,
        beams: int = 1,
    ) -> None: ...

class CoCaLoss(OtherSystem):
    """Match pairs and predict the next word of each caption."""
    def __init__(
        self,
        pair: tuple[str, str] = ...,
        contrastive_weight: float = 1.0,
        caption_weight: float = 2.0,
        pad: int = 0,
        chunk: int | None = None,
    ) -> None: ...

class CoOp(ClassifierSystem):
    """Learn the context of the class names on the shots, through the frozen text tower."""
    def __init__(
        self,
        words: str = "",
        length: int = 16,
        position: Literal["end", "front", "middle"] = "end",
        specific: bool = False,
        conditional: bool = False,
        epochs: int | None = None,
        rate: float = 0.002,
        decay: float = 0.0005,
        batch: int = 32,
        views: int = 10,
    ) -> None: ...

class ConceptAssociationBias(OtherSystem):
    """Put pictures of two objects side by side, and ask for the attribute of one."""
    def __init__(
        self, template: str = "In this picture, the color of the {object} is {value}.", most: int = 300
    ) -> None: ...

class CounterAnimal(OtherSystem):
    """Find each class's best and worst group by a reference model, and measure all models between the two."""
    def __init__(
        self, reference: str = "", gap: float = 0.05, selection: Literal["all", "half"] = "half", least: int = 5
    ) -> None: ...

class CutAndPaste(OtherSystem):
    """Replace an object of a clip by words or by the subject of a reference picture, with a denoiser and
    no training.
    """
    def __init__(
        self,
        steps: int = 50,
        guidance: float = 7.5,
        kept_steps: float = 0.8,
        blend_from: float = 0.2,
        threshold: float = 0.3,
        wider: int = 1,
        floor: float = 0.0,
        fusion: tuple[float, float, float] = ...,
        cells: int = 16,
        subject_steps: int = 500,
        subject_rate: float = 0.005,
        subject_batch: int = 8,
        between: bool = False,
    ) -> None: ...

class DCCLIP(OtherSystem):
    """Distil a teacher's two towers into small ones, and align these on captioned images."""
    def __init__(
        self,
        features: Literal["embeddings", "maps"] = "maps",
        rate: float = 0.001,
        steps: int | None = None,
        decay: float = 0.05,
        sample: int = 256,
    ) -> None: ...

class DIVA(OtherSystem):
    """Train an image tower on photos alone, so that a denoiser which is told its tokens predicts noise
    better.
    """
    def __init__(
        self,
        patches: int | None = None,
        draws: int = 2,
        prompt: str = "a photo of a .",
        reader_rate: float = 1.0,
        scale: tuple[float, float] = ...,
        pooling: Literal["cls-and-patches", "own"] = "cls-and-patches",
    ) -> None: ...

class DNCBM(ClassifierSystem):
    """Discover concepts without labels, name them with words, and classify by few of them."""
    def __init__(
        self,
        expansion: float = 8.0,
        sparsity: float | None = None,
        epochs: int = 200,
        rate: float = 0.0005,
        probe: tuple[float, float] | None = None,
        probe_epochs: int = 200,
        vocabulary: tuple[str, ...] = ...,
    ) -> None: ...

class DeltaEdit(OtherSystem):
    """Train a mapper on differences of image vectors, and use it with differences of text vectors."""
    def __init__(
        self,
        beta: float = 0.03,
        bank: int = 200000,
        passes: int = 50,
        batch: int = 64,
        rate: float = 0.5,
        levels: tuple[int, int] = ...,
        width: int | None = None,
        norm: Literal["channels", "reference"] = "reference",
        probes: int = 100,
        sigmas: float = 5.0,
        pixels: Literal["pooled", "recipe"] = "recipe",
        frames: tuple[str, ...] = ...,
    ) -> None: ...

class Description(ClassifierSystem):
    """Score an image against written features of each class."""
    def __init__(
        self, before: str = "", after: str = "", aggregate: Literal["max", "mean", "sum"] = "mean"
    ) -> None: ...

class DiscriminativeDescriptions(ClassifierSystem):
    """Select, for each image, the descriptions that separate its top classes on the labelled images."""
    def __init__(self, candidates: int = 3, texts: int = 5, weight: float | None = None) -> None: ...

class EvenPrior(ClassifierSystem):
    """Classify zero-shot, with one offset per class that makes the answers about the shots even."""
    def __init__(self) -> None: ...

class FCCLIP(SegmenterSystem):
    """Train masks over the maps of a frozen CLIP, and classify them by what was trained and by CLIP
    itself.
    """
    def __init__(
        self,
        alpha: float = 0.4,
        beta: float = 0.8,
        side: int = 224,
        longest: int = 1333,
        pads: bool = False,
        empty: Literal["both", "trained"] = "trained",
        crop: int = 128,
        zoom: float = 2.0,
        layout: MaskLayout = ...,
        steps: int = 300,
        batch: int = 4,
        rate: float = 0.001,
        classify: Literal["crops", "pooled"] = "pooled",
    ) -> None: ...

class FeatureMemory(DetectorSystem):
    """Remember cells of normal photos, and measure the distance of each cell to the nearest of them."""
    def __init__(self, cells: int = 20000, strides: tuple[int, ...] = ..., side: int | None = None) -> None: ...

class FrameMean(OtherSystem):
    """Embed clips in a space of photos and texts."""
    def __init__(self, frames: int = 8) -> None: ...

class FuDD(ClassifierSystem):
    """Compare the candidates of a first look again, by texts that tell them apart."""
    def __init__(self, candidates: int | None = 10, template: str = "a photo of a {}.") -> None: ...

class Full(OtherSystem):
    """Train both towers on labelled classes (cross-entropy over prompts) or on captions (CLIP's loss)."""
    def __init__(self, smoothing: float = 0.0) -> None: ...

class GALIP(OtherSystem):
    """Make pictures from words in one pass, by a generator that learns from captioned photos."""
    def __init__(
        self,
        size: int = 224,
        noise: int = 100,
        width: int = 512,
        least: int = 64,
        bridge: int = 64,
        inner: int = 768,
        judge: int = 512,
        words: float = 4.0,
        penalty: float = 2.0,
        power: float = 6.0,
        rate: float = 0.0001,
        ratio: float = 4.0,
        batch: int = 64,
        steps: int = 100000,
    ) -> None: ...

class GDA(ClassifierSystem):
    """Add a Gaussian discriminant of the shots to the zero-shot classifier."""
    def __init__(self, alpha: float | None = None, views: int = 10, base_to_new: bool = False) -> None: ...

class GLSim(ClassifierSystem):
    """Fine-tune a ViT that looks twice: at the image, and at the box of the patches most similar to its
    summary.
    """
    def __init__(
        self,
        top: int = 8,
        pick: Literal["least", "most"] = "most",
        inclusive: bool = False,
        freeze: bool = False,
        epochs: int = 50,
        rate: float = 0.01,
        batch: int = 8,
        smoothing: float = 0.0,
    ) -> None: ...

class GRAIN(OtherSystem):
    """Train pairs, and region slots that draw boxes and are named by descriptions."""
    def __init__(
        self,
        regions: int = 5,
        boxes: float = 1.0,
        descriptions: float = 1.0,
        width: int = 512,
        depth: int = 6,
        heads: int = 8,
        hidden: int = 2048,
        dropout: float = 0.1,
    ) -> None: ...

class Gaussian(DetectorSystem):
    """Fit one Gaussian to the embeddings of normal photos, its covariance shrunk as Ledoit and Wolf do."""
    def __init__(self) -> None: ...

class GeodesicMixup(OtherSystem):
    """Fine-tune on pairs with mixtures as hard negatives (m2-Mix), and with mixed pairs as further data
    (m3-Mix).
    """
    def __init__(
        self,
        m2: float = 0.01,
        single: float = 0.0,
        joint: float = 0.0,
        beta: float = 0.5,
        temperature: float = 0.01,
        mixed_temperature: float = 0.07,
        share: float | None = None,
        pair: tuple[str, str] = ...,
    ) -> None: ...

class HolisticRobustness(OtherSystem):
    """Measure factors, shifts, shape bias, calibration, unknown things, retrieval and places, on the
    tables given.
    """
    def __init__(
        self,
        factors: tuple[str, ...] = ...,
        most: int = 500,
        neighbours: int = 10,
        recall: float = 0.95,
        baseline: str = "supervised",
    ) -> None: ...

class HypOC(DetectorSystem):
    """Train a hyperbolic head on frozen embeddings of normal photos."""
    def __init__(
        self,
        widths: tuple[int, ...] = ...,
        sigma: float = 1.0,
        alpha: float = 0.8,
        curvature: float = 0.1,
        radius: float = 2.0,
        geometry: Literal["euclidean", "hyperbolic"] = "hyperbolic",
        pairs: Literal["artanh", "atan"] = "artanh",
        rate: float = 0.0001,
        decay: float = 1e-06,
        batch: int = 8,
        epochs: int = 60,
        clip: float = 3.0,
    ) -> None: ...

class ILA(OtherSystem):
    """Train alignment, integration and prompts on clips that have one text each, round a frozen tower."""
    def __init__(
        self,
        frames: int = 8,
        blocks: int | None = None,
        hidden: int = 256,
        sampling: Literal["drawn", "middle"] = "drawn",
        rate: float = 0.0005,
        epochs: int = 50,
        batch: int = 256,
        smoothing: float = 0.1,
        mix: bool = True,
        together: int = 0,
    ) -> None: ...

class LLM2CLIP(OtherSystem):
    """Train a CLIP whose texts are read by a language model."""
    def __init__(
        self,
        tune: bool = True,
        rate: float = 0.0002,
        steps: int | None = None,
        rank: int = 16,
        alpha: float = 16.0,
        dropout: float = 0.05,
        scale: float = 50.0,
        blocks: int = 4,
        instruction: str = "Find another description of the same picture: ",
    ) -> None: ...

class LPPlusPlus(ClassifierSystem):
    """Fit visual prototypes and the share of the text in each class, by steps whose sizes follow from the
    shots.
    """
    def __init__(self, steps: int = 300, early_stopping: bool = True, views: int = 1) -> None: ...

class LaCLIP(OtherSystem):
    """Train pairs whose captions are drawn among rewrites by the kit's writer."""
    def __init__(
        self, rewrites: int = 4, words: int = 2, examples: tuple[tuple[str, str], ...] = ..., shown: int = 3
    ) -> None: ...

class LightCLIP(OtherSystem):
    """Train a small CLIP with softened targets, matching of words and patches, and masked words."""
    def __init__(
        self,
        soften: float = 0.1,
        negatives: str = "similar",
        temperature: float = 0.1,
        token_weight: float = 0.5,
        capacity: int = 2,
        compared: int = 15,
        word_weight: float = 0.5,
        masked: float = 0.15,
    ) -> None: ...

class LinearProbe(ClassifierSystem):
    """Fit logistic regression on the embeddings of the shots."""
    def __init__(self, C: float | None = None) -> None: ...

class LoRA(OtherSystem):
    """Fine-tune low-rank adapters of every linear layer that may be trained, by peft."""
    def __init__(self, rank: int = 8, alpha: float = 16.0, smoothing: float = 0.0) -> None: ...

class LongCLIP(OtherSystem):
    """Lengthen the text context of a CLIP and train it on long captions, keeping what it knows of short
    ones.
    """
    def __init__(
        self, kept: int = 20, ratio: int = 4, components: int = 32, weight: float = 1.0, smoothing: float = 0.1
    ) -> None: ...

class MAFTPlus(SegmenterSystem):
    """Train masks, tune CLIP's image tower by how well the masks fit, and let class embeddings attend to
    the image.
    """
    def __init__(
        self,
        side: int = 224,
        longest: int = 1333,
        pads: bool = False,
        panoptic: bool = False,
        crop: int = 128,
        zoom: float = 2.0,
        layout: MaskLayout = ...,
        width: int = 64,
        heads: int = 8,
        compensate: float = 0.1,
        steps: int = 300,
        tuning: int = 100,
        batch: int = 4,
        rate: float = 0.001,
        tower_rate: float = 0.1,
    ) -> None: ...

class MMVP(OtherSystem):
    """Mine pictures that a CLIP confuses by the eyes of a second encoder, and ask it about pairs with
    statements.
    """
    def __init__(
        self,
        top: float = 0.01,
        bottom: float = 0.3,
        similar: float | None = None,
        different: float | None = None,
        neighbours: int = 20,
        most: int = 5000,
        template: str = "a photo of {}",
    ) -> None: ...

class MacCap(CaptionerSystem):
    """Train a captioner on sentences alone; at test time regions of an image replace the noisy copies of a
    sentence.
    """
    def __init__(
        self,
        copies: int = 10,
        noise: float | None = None,
        region: float = 1.0,
        weighting: Literal["raw", "reference", "renormalise"] = "reference",
        queries: int = 32,
        width: int = 512,
        layers: int = 4,
        lm_width: int = 128,
        limit: int = 25,
        epochs: int = 10,
        batch: int = 128,
        rate: float = 0.0001,
        lm_rate: float = 0.001,
        beams: int = 4,
        tries: int = 4,
    ) -> None: ...

class MaskCLIP(SegmenterSystem):
    """Compare the value of each patch in the last block with the class texts."""
    def __init__(
        self, block: Literal["tokens", "value", "value-only"] = "value", windows: Windows = ..., denoise: float = 0.0
    ) -> None: ...

class MetaCLIP(OtherSystem):
    """Match texts against metadata, and balance how often the entries appear."""
    def __init__(self, metadata: str = "wordnet", t: float = 20000, tail: float = 0.0) -> None: ...

class MoCoOp(ClassifierSystem):
    """Learn a soft prompt for each group of templates, and route each image to two of them."""
    def __init__(
        self,
        groups: tuple[tuple[str, ...], ...] = ...,
        norms: bool = True,
        text: float = 5.0,
        gating: float = 1.0,
        epochs: int = 50,
        rate: float = 0.032,
        batch: int = 32,
    ) -> None: ...

class Mosaic(OtherSystem):
    """Stylise each object that a prompt names, and leave the rest as it is."""
    def __init__(
        self,
        steps: int = 200,
        rate: float = 0.0005,
        side: int = 512,
        crops: int = 64,
        crop: float = 0.25,
        distortion: float = 0.5,
        least: float = 0.7,
        weights: tuple[float, float, float, float] = ...,
        width: int = 16,
        floor: float = 0.1,
        feather: float = 0.006,
        around: tuple[str, ...] = ...,
        frames: tuple[str, ...] = ...,
    ) -> None: ...

class NACLIP(SegmenterSystem):
    """Mix the values of the last block among like and near patches, and compare each patch with the class
    texts.
    """
    def __init__(self, windows: Windows = ..., sigma: float = 5.0, sharpness: float = 5.0) -> None: ...

class NearestCaption(CaptionerSystem):
    """Caption images with sentences of a pool, without any training."""
    def __init__(self) -> None: ...

class NoLA(ClassifierSystem):
    """Adapt to unlabelled images, without reading any label."""
    def __init__(
        self,
        prompts: int = 16,
        norms: bool = True,
        epochs: int = 50,
        rate: float = 0.004,
        batch: int = 512,
        views: int = 10,
    ) -> None: ...

class OVSeg(SegmenterSystem):
    """Mine pairs from captions, adapt CLIP's image tower to masked crops, and classify proposed masks."""
    def __init__(
        self,
        tune: Literal["auto", "both", "full", "map", "none", "prompts"] = "auto",
        share: float = 0.7,
        threshold: float = 0.4,
        regions: int = 32,
        side: int = 640,
        photos: int = 100,
        tagger: Literal["nltk", "wordnet"] = "wordnet",
        antialias: bool = True,
        depth: int = 3,
        rate: float = 5e-06,
        prompt_rate: float = 0.02,
        map_rate: float = 0.001,
        epochs: int = 5,
        batch: int = 32,
    ) -> None: ...

class PatchMemory(DetectorSystem):
    """Remember the patches of a few normal photos in several turns, and measure how far those of an image
    are.
    """
    def __init__(
        self,
        shots: int | None = 16,
        turns: int = 4,
        tail: float = 0.01,
        side: int | None = None,
        foreground: float | None = None,
    ) -> None: ...

class PathGen(OtherSystem):
    """Pick tiles of slides, and write captions for them."""
    def __init__(
        self,
        attributes: str = "",
        top: int = 64,
        sampled: int = 256,
        cluster_batch: int = 1,
        limit: float = 0.88,
        words: int = 50,
        describe: str = ...,
        revise: str = ...,
        judge: str = ...,
        shorten: str = ...,
    ) -> None: ...

class PerceptionCLIP(ClassifierSystem):
    """Infer the context of a photo with CLIP itself, and mix the class posteriors of all contexts."""
    def __init__(
        self,
        factors: tuple[str, ...] = ...,
        contexts: Contexts | str = "general",
        infer: Literal["with class", "without class"] = "with class",
        temperature: float = 1.0,
        main: str = "a photo of a {}",
        generic: str = "object",
    ) -> None: ...

class ProLIP(ClassifierSystem):
    """Train the image encoder's projection on a few labels, held near where it was; it needs no validation
    set.
    """
    def __init__(
        self,
        place: Literal["auto", "embedding", "projection"] = "auto",
        penalty: float = 1.0,
        rate: float = 0.001,
        epochs: int = 300,
        views: int = 20,
    ) -> None: ...

class QualityCaptions(OtherSystem):
    """Train pairs with CLIP's loss on captions that are scored, and mixed with synthetic ones."""
    def __init__(
        self,
        mode: Literal["both", "mix", "original", "synthetic"] = "both",
        share: float = 0.5,
        keep: float = 1.0,
        least: float = 0.0,
        distil: float = 0.0,
        teachers: tuple[int, ...] = ...,
    ) -> None: ...

class QualityNotQuantity(OtherSystem):
    """Fit the line of each training source over models of several sizes, and measure how mixing sources
    dilutes it.
    """
    def __init__(self, models: int = 3) -> None: ...

class RSMCLIP(OtherSystem):
    """Train pairs in any number of languages, and distil from crops. Translations are further captions of
    an image.
    """
    def __init__(
        self,
        weight: float = 1.0,
        crops: int = 6,
        small: float = 0.42857142857142855,
        scales: tuple[tuple[float, float], tuple[float, float]] = ...,
        hidden: int = 2048,
        bottleneck: int = 256,
        prototypes: int = 4096,
        teacher_temperature: float = 0.04,
        student_temperature: float = 0.1,
        momentum: float = 0.996,
    ) -> None: ...

class RetrievalTuning(OtherSystem):
    """Tune the image tower for search by image, and keep the fit of the texts, by captions in the loss or
    afterwards.
    """
    def __init__(
        self,
        weight: float = 1.0,
        realign: bool = False,
        captions: int = 3,
        scale: float = 30.0,
        margin: float = 0.5,
        class_lr: float = 100.0,
    ) -> None: ...

class SAMCLIP(SegmenterSystem):
    """Merge CLIP and SAM in one encoder with two heads, and segment with both."""
    def __init__(
        self,
        joint: bool = True,
        weight: float = 10.0,
        heads: Literal["both", "clip"] = "clip",
        side: int = 448,
        taught_side: int = 224,
        prompts: int = 8,
        shares: tuple[int, int] = ...,
        hidden: int | None = None,
        probe_rate: float = 0.0008,
        rate: float = 4e-05,
        probe_epochs: int = 20,
        epochs: int = 16,
        batch: int = 32,
        photos: int = 400,
    ) -> None: ...

class SCLIP(SegmenterSystem):
    """Mix the values of the last block by correlative self-attention, and compare each patch with the
    class texts.
    """
    def __init__(self, windows: Windows = ..., sharpness: float = 5.0) -> None: ...

class SemDeDup(OtherSystem):
    """Drop pictures that are nearly the same as another one of the pool."""
    def __init__(
        self,
        eps: float = 0.05,
        keep: Literal["easy", "hard", "random"] = "hard",
        cells: int | None = None,
        rule: Literal["both", "either", "hash", "vector"] = "vector",
        bits: int = 10,
        mirror: bool = False,
    ) -> None: ...

class ShortcutLearning(OtherSystem):
    """Train heads on a model's features where a square of set visibility also predicts the label."""
    def __init__(
        self,
        shortcut: float = 0.85,
        core: float = 0.9,
        opacities: tuple[float, ...] = ...,
        draws: int = 10,
        most: int = 160,
        heads: tuple[tuple[str, Head], ...] = ...,
    ) -> None: ...

class SigLIPLoss(OtherSystem):
    """Match pairs by a binary classification of every image with every caption."""
    def __init__(
        self, pair: tuple[str, str] = ..., chunk: int | None = None, start: tuple[float, float] = ...
    ) -> None: ...

class StringMatching(OtherSystem):
    """Link records whose texts have similar letters."""
    def __init__(self, measure: Literal["jaccard", "levenshtein"] = "levenshtein", n: int = 3) -> None: ...

class StuffContext(SegmenterSystem):
    """Compare patches at several sizes with phrases that put stuff in its context, and cells with the
    looks of stuff.
    """
    def __init__(
        self,
        sides: tuple[int, ...] = ...,
        affinity: float = 10.0,
        contexts: bool = True,
        appearance: float = 2.5,
        colours: float = 1.0,
    ) -> None: ...

class SyCoCa(OtherSystem):
    """Train pairs, a captioner that sees the relevant patches alone, and a painter that rebuilds them from
    the caption.
    """
    def __init__(
        self,
        caption_weight: float = 2.0,
        paint_weight: float = 1.0,
        unseen: float = 0.5,
        hidden: float = 0.5,
        start: float = 0.1,
        paint_width: int = 512,
        paint_depth: int = 4,
    ) -> None: ...

class TipAdapter(ClassifierSystem):
    """Add a vote of the stored shots to the zero-shot classifier."""
    def __init__(
        self, alpha: float | None = None, beta: float | None = None, search: tuple[float, float] = ..., views: int = 10
    ) -> None: ...

class TipAdapterF(ClassifierSystem):
    """Train the keys of a cache, then choose weight and sharpness of its vote."""
    def __init__(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        start: tuple[float, float] = ...,
        search: tuple[float, float] = ...,
        views: int = 10,
        epochs: int = 20,
        rate: float = 0.001,
        batch: int = 256,
    ) -> None: ...

class TransCLIP(ClassifierSystem):
    """Classify photos without labels together, with the shots if there are any."""
    def __init__(
        self,
        kl: float | None = None,
        gamma: float | None = None,
        neighbours: int = 3,
        iterations: int = 10,
        temper: float = 50.0,
        spherical: bool = False,
    ) -> None: ...

class Trident(SegmenterSystem):
    """Splice the windows of CLIP guided by a second encoder, aggregate over the image, segment, and
    refine.
    """
    def __init__(
        self,
        windows: Windows = ...,
        beta: float = 1.2,
        gamma: float = 3.0,
        scale: float | None = 40.0,
        aggregate: Literal["attention", "auto", "none", "regions"] = "auto",
        cosine_factor: float = 1.2,
        negative: float | None = None,
        columns: int = 1,
        refinement: Refinement | None = ...,
        splice: Literal["features", "scores"] = "features",
    ) -> None: ...

class UFFGTG(OtherSystem):
    """Train a rewriter of prompts on pictures with a short and a long caption each."""
    def __init__(
        self,
        epochs: int = 100,
        batch: int = 64,
        rate: float = 5e-05,
        warmup: int = 1000,
        tower_rate: float = 1.0,
        image: float = 1.0,
        text: float = 0.1,
        choices: int = 5,
        diversity: float = 0.5,
        limit: int = 32,
        read: int = 77,
        width: int = 128,
        layers: int = 2,
    ) -> None: ...

class UserAwarePrefix(CaptionerSystem):
    """Train a prefix that knows the image and the user before a frozen language model."""
    def __init__(
        self,
        tokens: Literal["patches", "pooled"] = "patches",
        words: int = 100,
        nobody: float = 0.1,
        queries: int = 10,
        mapping: int = 8,
        fusion: int = 4,
        lm_width: int = 128,
        layers: int = 4,
        limit: int = 25,
        least: int = 1,
        lm_epochs: int = 10,
        epochs: int = 10,
        batch: int = 40,
        rate: float = 0.001,
        lm_rate: float = 0.001,
        beams: int = 5,
    ) -> None: ...

class VRLwF(OtherSystem):
    """Fine-tune on a task, with a loss that keeps the similarities of images to random sentences."""
    def __init__(
        self,
        vocabulary: Literal["classes", "random"] = "random",
        size: int = 1000,
        length: int = 10,
        temperature: float = 2.0,
        weight: float = 1.0,
        over_texts: bool = True,
        smoothing: float = 0.2,
    ) -> None: ...

class VectorHeadFilter(OtherSystem):
    """Keep the pairs whose pictures per head scores highest, or lowest."""
    def __init__(
        self,
        head: str = "",
        share: float = 0.3,
        threshold: float | None = None,
        precision: float | None = None,
        below: bool = False,
    ) -> None: ...

class ViFiCLIP(OtherSystem):
    """Tune a CLIP on clips that have one text each; the result embeds clips where the backbone embeds
    photos.
    """
    def __init__(
        self,
        tunes: Literal["full", "heads", "prompts"] = "full",
        towers: Literal["both", "image", "text"] = "both",
        frames: int = 8,
        length: int = 10,
        depth: int = 12,
        words: str = "",
        rate: float | None = None,
        epochs: int = 50,
        batch: int = 64,
        smoothing: float = 0.1,
        mix: bool = True,
    ) -> None: ...

class WiSEFT(OtherSystem):
    """Fine-tune all weights, then average them with the weights before."""
    def __init__(self, alpha: float = 0.5, smoothing: float = 0.0) -> None: ...

class WinCLIPStyle(DetectorSystem):
    """Compare windows of an image with texts of a normal and of a damaged thing."""
    def __init__(
        self,
        thing: str = "object",
        words: Literal["ensemble", "pair"] = "ensemble",
        scales: tuple[int, ...] = ...,
        side: int | None = None,
    ) -> None: ...

class ZeroShot(ClassifierSystem):
    """Classify with class names alone."""
    def __init__(self, templates: tuple[str, ...] | None = None) -> None: ...
