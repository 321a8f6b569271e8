from __future__ import annotations

import numpy as np

from openbook.plots.colors import WEIGHT_SCALE, line_styles


def lightness(color: str) -> float:
    """CIE L* of an sRGB colour."""
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    y = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * np.cbrt(y) - 16 if y > 0.008856 else 903.3 * y


def test_weights_darken_in_even_steps() -> None:
    steps = -np.diff([lightness(color) for color in WEIGHT_SCALE])
    assert (steps > 0).all()
    assert steps.max() < 1.35 * steps.mean()
    assert steps.min() > 0.65 * steps.mean()


def test_floors_are_grey_and_dashed_and_networks_are_not() -> None:
    styles = line_styles(["a", "b", "c", "d"], {"b", "d"})
    assert styles["a"]["dash"] == styles["c"]["dash"] == "solid"
    assert styles["b"]["dash"] != styles["d"]["dash"] != "solid"
    assert len({style["color"] for style in styles.values()}) == 4


def test_no_two_of_the_built_in_floors_or_of_many_networks_are_drawn_alike() -> None:
    floors, networks = [f"floor {number}" for number in range(12)], [f"net {number}" for number in range(9)]
    styles = line_styles([*floors, *networks], set(floors))
    assert len({(style["color"], style["dash"]) for style in styles.values()}) == len(styles)
