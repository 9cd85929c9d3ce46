"""PNG files that say in their metadata that a program made or changed the picture.

The field is IPTC's Digital Source Type in an XMP packet, which readers of photo metadata show.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diptych import __version__

Kind = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
MADE: Kind = "trainedAlgorithmicMedia"
"""IPTC's term for a picture that a trained model made."""
CHANGED: Kind = "compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a picture of another origin that a trained model changed."""
FRAME_MS = 250
"""Milliseconds that a frame of a clip is shown."""
_CODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_FIELD = "XML:com.adobe.xmp"
_PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'Iptc4xmpExt:DigitalSourceType="{kind}"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">{words}</rdf:li>'
    "</rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)


def marked(frames: Sequence[Image.Image], kind: Kind, words: str) -> bytes:
    """Return a picture as PNG with its origin: ``MADE`` or ``CHANGED``, and the words that were asked for.

    Args:
        frames: the picture, or the frames of a clip, which become an animated PNG.
        kind: the origin.
        words: what was asked for.

    Example:
        >>> origin(Image.open(io.BytesIO(marked([Image.new("RGB", (8, 8))], MADE, "a red circle"))))
        'trainedAlgorithmicMedia'
    """
    info = PngInfo()
    info.add_itxt(_FIELD, _PACKET.format(kind=_CODES + kind, words=escape(words)))
    info.add_text("Software", f"diptych {__version__}")
    out = io.BytesIO()
    first, *more = frames
    animated = {"save_all": True, "append_images": more, "duration": FRAME_MS, "loop": 0} if more else {}
    first.save(out, "png", pnginfo=info, **animated)
    return out.getvalue()


def origin(image: Image.Image) -> str | None:
    """Return the term that ``marked`` wrote into a picture; None where there is none."""
    packet = str(image.info.get(_FIELD, ""))
    _, found, rest = packet.partition(f'DigitalSourceType="{_CODES}')
    return rest.partition('"')[0] if found else None
