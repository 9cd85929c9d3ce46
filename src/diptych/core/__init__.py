"""Interfaces and errors, imported from here: ``from diptych.core import Backbone, Card, Kit``.

Each name is loaded with its module when it is first asked for; importing this package loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.core.audit import AuditData as AuditData
    from diptych.core.audit import Auditor as Auditor
    from diptych.core.audit import FittedPairScorer as FittedPairScorer
    from diptych.core.audit import ModelRecord as ModelRecord
    from diptych.core.audit import PairScorer as PairScorer
    from diptych.core.audit import PairScores as PairScores
    from diptych.core.audit import Part as Part
    from diptych.core.audit import Probe as Probe
    from diptych.core.audit import Role as Role
    from diptych.core.audit import Subject as Subject
    from diptych.core.backbone import Around as Around
    from diptych.core.backbone import Backbone as Backbone
    from diptych.core.backbone import Dense as Dense
    from diptych.core.backbone import Edit as Edit
    from diptych.core.backbone import Encoder as Encoder
    from diptych.core.backbone import Inputs as Inputs
    from diptych.core.backbone import Kernel as Kernel
    from diptych.core.backbone import Parts as Parts
    from diptych.core.backbone import Resampling as Resampling
    from diptych.core.backbone import S_contra as S_contra
    from diptych.core.backbone import Space as Space
    from diptych.core.backbone import Stage as Stage
    from diptych.core.backbone import State as State
    from diptych.core.backbone import Tap as Tap
    from diptych.core.backbone import Tower as Tower
    from diptych.core.caption import Captioner as Captioner
    from diptych.core.caption import FittedCaptioner as FittedCaptioner
    from diptych.core.card import Address as Address
    from diptych.core.card import Card as Card
    from diptych.core.card import CardBeside as CardBeside
    from diptych.core.card import EvidenceField as EvidenceField
    from diptych.core.card import Headline as Headline
    from diptych.core.card import Hook as Hook
    from diptych.core.card import Needs as Needs
    from diptych.core.card import Offer as Offer
    from diptych.core.card import ProofPlan as ProofPlan
    from diptych.core.card import ProofStage as ProofStage
    from diptych.core.card import Reference as Reference
    from diptych.core.card import Slug as Slug
    from diptych.core.card import Verb as Verb
    from diptych.core.card import Words as Words
    from diptych.core.curate import Clustered as Clustered
    from diptych.core.curate import Curator as Curator
    from diptych.core.curate import Plan as Plan
    from diptych.core.curate import Verdict as Verdict
    from diptych.core.curate import Verdicts as Verdicts
    from diptych.core.data import ClassNames as ClassNames
    from diptych.core.data import Column as Column
    from diptych.core.data import ColumnKind as ColumnKind
    from diptych.core.data import Evidence as Evidence
    from diptych.core.data import S_co as S_co
    from diptych.core.data import Samples as Samples
    from diptych.core.data import Stream as Stream
    from diptych.core.data import Subset as Subset
    from diptych.core.data import Table as Table
    from diptych.core.data import Text as Text
    from diptych.core.data import TextPool as TextPool
    from diptych.core.data import Texts as Texts
    from diptych.core.diffusion import AttentionHook as AttentionHook
    from diptych.core.diffusion import Condition as Condition
    from diptych.core.diffusion import Site as Site
    from diptych.core.diffusion import TextDiffusion as TextDiffusion
    from diptych.core.diffusion import TextReading as TextReading
    from diptych.core.edit import EditAsk as EditAsk
    from diptych.core.edit import Edited as Edited
    from diptych.core.edit import Editor as Editor
    from diptych.core.edit import FittedEditor as FittedEditor
    from diptych.core.edit import Inverter as Inverter
    from diptych.core.edit import Start as Start
    from diptych.core.edit import StyleGenerator as StyleGenerator
    from diptych.core.edit import Styles as Styles
    from diptych.core.edit import Takes as Takes
    from diptych.core.entry_points import PluginWarning as PluginWarning
    from diptych.core.errors import BoundBroken as BoundBroken
    from diptych.core.errors import Collapsed as Collapsed
    from diptych.core.errors import DamagedStore as DamagedStore
    from diptych.core.errors import DataError as DataError
    from diptych.core.errors import DiptychError as DiptychError
    from diptych.core.errors import Diverged as Diverged
    from diptych.core.errors import MissingEvidence as MissingEvidence
    from diptych.core.errors import MissingExtra as MissingExtra
    from diptych.core.errors import MissingHook as MissingHook
    from diptych.core.errors import MissingPart as MissingPart
    from diptych.core.errors import NotAvailable as NotAvailable
    from diptych.core.errors import UnreadableItem as UnreadableItem
    from diptych.core.errors import UsageError as UsageError
    from diptych.core.findings import Control as Control
    from diptych.core.findings import Example as Example
    from diptych.core.findings import Finding as Finding
    from diptych.core.kit import Kit as Kit
    from diptych.core.language import Ask as Ask
    from diptych.core.language import Cache as Cache
    from diptych.core.language import LanguageModel as LanguageModel
    from diptych.core.language import TokenStates as TokenStates
    from diptych.core.language import Writer as Writer
    from diptych.core.latents import LatentGenerator as LatentGenerator
    from diptych.core.latents import MapInverter as MapInverter
    from diptych.core.masks import MaskProposer as MaskProposer
    from diptych.core.masks import PromptableMasks as PromptableMasks
    from diptych.core.masks import Prompted as Prompted
    from diptych.core.masks import Prompts as Prompts
    from diptych.core.masks import Proposals as Proposals
    from diptych.core.masks import Seen as Seen
    from diptych.core.method import Anomaly as Anomaly
    from diptych.core.method import Classifier as Classifier
    from diptych.core.method import Detector as Detector
    from diptych.core.method import Extender as Extender
    from diptych.core.method import FittedClassifier as FittedClassifier
    from diptych.core.method import FittedDetector as FittedDetector
    from diptych.core.method import FittedRetriever as FittedRetriever
    from diptych.core.method import FittedSegmenter as FittedSegmenter
    from diptych.core.method import Method as Method
    from diptych.core.method import Reason as Reason
    from diptych.core.method import Regions as Regions
    from diptych.core.method import Retriever as Retriever
    from diptych.core.method import ScoreKind as ScoreKind
    from diptych.core.method import Scores as Scores
    from diptych.core.method import Segmenter as Segmenter
    from diptych.core.ranges import Range as Range
    from diptych.core.run import Engine as Engine
    from diptych.core.run import Progress as Progress
    from diptych.core.run import Run as Run
    from diptych.core.run import Runner as Runner
    from diptych.core.run import SilentProgress as SilentProgress
    from diptych.core.run import World as World
    from diptych.core.spec import Change as Change
    from diptych.core.spec import Interpolation as Interpolation
    from diptych.core.spec import PixelRecipe as PixelRecipe
    from diptych.core.spec import ResizeMode as ResizeMode
    from diptych.core.spec import Spec as Spec
    from diptych.core.spec import name_today as name_today
    from diptych.core.train import Block as Block
    from diptych.core.train import Clock as Clock
    from diptych.core.train import Embedded as Embedded
    from diptych.core.train import Learns as Learns
    from diptych.core.train import Objective as Objective
    from diptych.core.train import ParamGroup as ParamGroup
    from diptych.core.train import Recipe as Recipe
    from diptych.core.train import Rewriter as Rewriter
    from diptych.core.train import Ring as Ring
    from diptych.core.train import Row as Row
    from diptych.core.train import Sampler as Sampler
    from diptych.core.train import Trained as Trained
    from diptych.core.train import Trainee as Trainee

_MODULES = {
    "audit": (
        "AuditData",
        "Auditor",
        "FittedPairScorer",
        "ModelRecord",
        "PairScorer",
        "PairScores",
        "Part",
        "Probe",
        "Role",
        "Subject",
    ),
    "backbone": (
        "Around",
        "Backbone",
        "Dense",
        "Edit",
        "Encoder",
        "Inputs",
        "Kernel",
        "Parts",
        "Resampling",
        "S_contra",
        "Space",
        "Stage",
        "State",
        "Tap",
        "Tower",
    ),
    "caption": (
        "Captioner",
        "FittedCaptioner",
    ),
    "card": (
        "Address",
        "Card",
        "CardBeside",
        "EvidenceField",
        "Headline",
        "Hook",
        "Needs",
        "Offer",
        "ProofPlan",
        "ProofStage",
        "Reference",
        "Slug",
        "Verb",
        "Words",
    ),
    "curate": (
        "Clustered",
        "Curator",
        "Plan",
        "Verdict",
        "Verdicts",
    ),
    "data": (
        "ClassNames",
        "Column",
        "ColumnKind",
        "Evidence",
        "S_co",
        "Samples",
        "Stream",
        "Subset",
        "Table",
        "Text",
        "TextPool",
        "Texts",
    ),
    "diffusion": (
        "AttentionHook",
        "Condition",
        "Site",
        "TextDiffusion",
        "TextReading",
    ),
    "edit": (
        "EditAsk",
        "Edited",
        "Editor",
        "FittedEditor",
        "Inverter",
        "Start",
        "StyleGenerator",
        "Styles",
        "Takes",
    ),
    "entry_points": ("PluginWarning",),
    "errors": (
        "BoundBroken",
        "Collapsed",
        "DamagedStore",
        "DataError",
        "DiptychError",
        "Diverged",
        "MissingEvidence",
        "MissingExtra",
        "MissingHook",
        "MissingPart",
        "NotAvailable",
        "UnreadableItem",
        "UsageError",
    ),
    "findings": (
        "Control",
        "Example",
        "Finding",
    ),
    "kit": ("Kit",),
    "language": (
        "Ask",
        "Cache",
        "LanguageModel",
        "TokenStates",
        "Writer",
    ),
    "latents": (
        "LatentGenerator",
        "MapInverter",
    ),
    "masks": (
        "MaskProposer",
        "PromptableMasks",
        "Prompted",
        "Prompts",
        "Proposals",
        "Seen",
    ),
    "method": (
        "Anomaly",
        "Classifier",
        "Detector",
        "Extender",
        "FittedClassifier",
        "FittedDetector",
        "FittedRetriever",
        "FittedSegmenter",
        "Method",
        "Reason",
        "Regions",
        "Retriever",
        "ScoreKind",
        "Scores",
        "Segmenter",
    ),
    "ranges": ("Range",),
    "run": (
        "Engine",
        "Progress",
        "Run",
        "Runner",
        "SilentProgress",
        "World",
    ),
    "spec": (
        "Change",
        "Interpolation",
        "PixelRecipe",
        "ResizeMode",
        "Spec",
        "name_today",
    ),
    "train": (
        "Block",
        "Clock",
        "Embedded",
        "Learns",
        "Objective",
        "ParamGroup",
        "Recipe",
        "Rewriter",
        "Ring",
        "Row",
        "Sampler",
        "Trained",
        "Trainee",
    ),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(_PLACES)
