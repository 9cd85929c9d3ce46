"""PNG and MP4 files that say in their metadata that a program made or changed the picture.

The field is IPTC's Digital Source Type: of a PNG in an XMP packet, which readers of photo metadata show, of an MP4 in
its comment.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
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


def film(frames: Sequence[Image.Image], kind: Kind, words: str) -> bytes | None:
    """Return frames as MP4 with their origin, each for ``FRAME_MS``; None without PyAV (the extra "video").

    Sides that are odd lose their last row or column, which H.264 cannot hold.

    Args:
        frames: of one size, at least 2 x 2 pixels.
        kind: the origin.
        words: what was asked for.
    """
    try:
        import av
    except ImportError:
        return None
    out = io.BytesIO()
    width, height = (side - side % 2 for side in frames[0].size)
    name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(out, "w", format="mp4") as container:
        container.metadata["comment"] = f"DigitalSourceType: {_CODES}{kind}; {words}; diptych {__version__}"
        stream = container.add_stream(name, rate=Fraction(1000, FRAME_MS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if name == "libx264":
            stream.options = {"crf": "12"}
        for frame in frames:
            picture = av.VideoFrame.from_image(frame.convert("RGB").crop((0, 0, width, height)))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return out.getvalue()


def origin(image: Image.Image) -> str | None:
    """Return the term that ``marked`` wrote into a picture; None where there is none."""
    packet = str(image.info.get(_FIELD, ""))
    _, marker, rest = packet.partition(f'DigitalSourceType="{_CODES}')
    return rest.partition('"')[0] if marker else None
