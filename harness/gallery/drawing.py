"""Single images drawn into Axes: grey ones as shades, those with channels in colours, rows as curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from harness.data.images import RawPixels


FLATNESS = 0.4
"""Height of a curve in its widths."""


def draw_image(ax: Axes, image: RawPixels, pixel_max: float, *, turned: bool = False, **style: Any) -> None:
    """Draw one image (H, W) or (H, W, C), 0 black and pixel_max white, or `turned` over.

    An image of one line, (1, W), is drawn as a curve: nobody sees differences of shade in it.

    Args:
        ax: the Axes to draw into.
        image: pixels as they are stored.
        pixel_max: the value of a full pixel.
        turned: draw 0 as white; of colours, their complements.
        style: as for matplotlib's `Axes.imshow`.
    """
    if is_row(image):
        left, right, bottom, top = style.get("extent") or (0, image.shape[1] - 1, 0, pixel_max)
        heights = bottom + image[0] / pixel_max * (top - bottom)
        ax.plot(np.linspace(left, right, image.shape[1]), heights, color="0.2", linewidth=0.8)
        if "extent" not in style:
            ax.set_ylim(0, pixel_max)  # one scale for all images
        return
    if image.ndim == 2:
        ax.imshow(image, cmap="gray_r" if turned else "gray", vmin=0, vmax=pixel_max, **style)
        return
    colours = in_colours(image, pixel_max)
    ax.imshow(1 - colours if turned else colours, **style)


def is_row(image: RawPixels) -> bool:
    """Tell whether an image is one line of values, which is drawn as a curve."""
    return image.ndim == 2 and image.shape[0] == 1 < image.shape[1]


def drawn_size(image: RawPixels) -> tuple[float, float]:
    """Give height and width of an image as it is drawn, in its pixels."""
    height, width = image.shape[:2]
    return (FLATNESS * width if is_row(image) else height), width


def in_colours(image: RawPixels, pixel_max: float) -> NDArray[np.float64]:
    """Give red, green and blue (H, W, 3) in 0..1 of an image (H, W, C): its first three channels.

    Of two channels the first is red and the second green; a fourth one, such as alpha, is not seen.
    """
    colours = np.zeros((*image.shape[:2], 3))
    shown = image[..., :3]
    colours[..., : shown.shape[-1]] = np.clip(shown / pixel_max, 0, 1)
    return colours
