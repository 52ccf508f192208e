"""Make skyfill/data/pixel_window.npz: the HEALPix pixel window as a function of ell / nside.

The window of a pixel is the mean of exp(i k·r) over its area. Each of 64² pixels of a polar and of
an equatorial base face is divided into 16² children, whose own window is the same function at a
sixteenth of the argument; |window|² is averaged over directions of k and over the sphere (eight of
twelve faces are polar). Above nside 32 the shape no longer depends on nside.

    python docs/scripts/make_pixel_window.py
"""

from pathlib import Path

import healpy as hp
import numpy as np

NSIDE, CHILDREN = 64, 16
X = np.arange(0, 4.0001, 0.05)
DIRECTIONS = 24


def face_window(face: int) -> np.ndarray:
    """Give mean |w|² at X over every third pixel of a base face."""
    pixels = face * NSIDE**2 + np.arange(0, NSIDE**2, 3)
    k = X * NSIDE
    angles = (np.arange(DIRECTIONS) + 0.5) * np.pi / DIRECTIONS
    total = np.zeros(X.size)
    for pixel in pixels:
        children = pixel * CHILDREN**2 + np.arange(CHILDREN**2)
        vec = np.array(hp.pix2vec(NSIDE * CHILDREN, children, nest=True))
        centre = vec.mean(axis=1)
        centre /= np.linalg.norm(centre)
        east = np.cross([0, 0, 1], centre)
        east /= np.linalg.norm(east)
        x, y = east @ vec, np.cross(centre, east) @ vec
        along = np.outer(np.cos(angles), x) + np.outer(np.sin(angles), y)
        phase = np.exp(1j * k[:, None, None] * along)
        total += (np.abs(phase.mean(axis=2)) ** 2).mean(axis=1)
    return total / pixels.size


def main() -> None:
    """Compute and write the table."""
    square = (2 * face_window(0) + face_window(4)) / 3
    window = np.sqrt(square)
    child = window.copy()
    for _ in range(3):  # the children's own window, from the table itself
        child = window * np.interp(X / CHILDREN, X, child)
    about = "HEALPix pixel window W(x), x = ell / nside; docs/scripts/make_pixel_window.py"
    path = Path(__file__).parents[2] / "skyfill/data/pixel_window.npz"
    np.savez_compressed(path, x=X, window=child, about=about)
    print(f"{path}: W(1) = {np.interp(1, X, child):.6f}, W(2) = {np.interp(2, X, child):.6f}")


if __name__ == "__main__":
    main()
