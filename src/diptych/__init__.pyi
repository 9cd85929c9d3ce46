from . import sklearn as sklearn
from . import systems as systems
from .api.checking import check as check
from .api.derived import audit as audit
from .api.derived import board as board
from .api.derived import caption as caption
from .api.derived import classify as classify
from .api.derived import curate as curate
from .api.derived import detect as detect
from .api.derived import edit as edit
from .api.derived import encode as encode
from .api.derived import export as export
from .api.derived import extend as extend
from .api.derived import finetune as finetune
from .api.derived import generate as generate
from .api.derived import index as index
from .api.derived import link as link
from .api.derived import pretrain as pretrain
from .api.derived import recommend as recommend
from .api.derived import rewrite as rewrite
from .api.derived import search as search
from .api.derived import segment as segment
from .api.listing import list_models as list_models
from .api.listing import list_systems as list_systems
from .api.loading import load as load
from .api.loading import load_classifier as load_classifier
from .api.model import Model as Model
from .api.results import Results as Results
from .api.verbs import open_data as open_data
from .core import ClassNames as ClassNames
from .core import Evidence as Evidence
from .core import Kit as Kit
from .core import Run as Run
from .tasks.model import Predictor as Predictor

__version__: str
_COMMANDS: tuple[str, ...]
