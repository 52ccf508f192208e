"""Plan square tiles on the sky, cut them from maps, paste them back, and store them on disk."""

from skyfill.tiling.cutting import cut as cut
from skyfill.tiling.cutting import cut_nearest as cut_nearest
from skyfill.tiling.cutting import gather as gather
from skyfill.tiling.cutting import sees as sees
from skyfill.tiling.files import read_tile as read_tile
from skyfill.tiling.files import write_tile as write_tile
from skyfill.tiling.images import paste_image as paste_image
from skyfill.tiling.images import paste_image_pol as paste_image_pol
from skyfill.tiling.layout import Layout as Layout
from skyfill.tiling.owning import owners as owners
from skyfill.tiling.pasting import Paster as Paster
from skyfill.tiling.pasting import paste as paste
from skyfill.tiling.planning import plan as plan
from skyfill.tiling.polarization import PolarizationPaster as PolarizationPaster
from skyfill.tiling.polarization import cut_polarization as cut_polarization
from skyfill.tiling.polarization import gather_polarization as gather_polarization
from skyfill.tiling.polarization import paste_polarization as paste_polarization
