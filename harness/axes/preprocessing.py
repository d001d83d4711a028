"""The registry of preprocessings, under the name by which plugins import it: `harness.data.preprocessing`."""

from harness.data.preprocessing import PixelStatistics, preprocessings

__all__ = ["PixelStatistics", "preprocessings"]
