"""A QR code as a picture that a page shows without loading anything."""

from io import BytesIO

import segno


def qr_svg(text: str) -> str:
    """Return the text as a QR code (ISO/IEC 18004): one `<svg>` element, which takes the size that it is given."""
    picture = BytesIO()
    segno.make(text, error="m", micro=False).save(
        picture, kind="svg", xmldecl=False, svgns=True, omitsize=True, nl=False, border=4
    )
    return picture.getvalue().decode("utf-8")
