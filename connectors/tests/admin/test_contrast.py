"""The colours of the admin against WCAG 2.2 AA: text 4.5:1 (1.4.3), areas and edges 3:1 (1.4.11), in light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

TEXT, AREA = 4.5, 3.0

PAGE = ("--body-bg", "--darkened-bg")
PAIRS = [
    *((TEXT, f"--erp-{state}", ground) for state in ("good", "bad", "warn", "off", "wait") for ground in PAGE),
    *(
        (TEXT, text, ground)
        for text in ("--body-fg", "--body-quiet-color", "--erp-quiet", "--link-fg")
        for ground in PAGE
    ),
    *((TEXT, "--body-fg", ground) for ground in ("--selected-bg", "--message-error-bg", "--message-warning-bg")),
    (TEXT, "--header-color", "--header-bg"),
    (TEXT, "--header-link-color", "--header-bg"),
    (TEXT, "--breadcrumbs-fg", "--breadcrumbs-bg"),
    (TEXT, "--breadcrumbs-link-fg", "--breadcrumbs-bg"),
    *(
        (TEXT, "--button-fg", f"--{kind}button{hover}-bg")
        for kind in ("", "default-", "delete-", "close-")
        for hover in ("", "-hover")
    ),
    *(
        (AREA, f"--erp-{state}", "--body-bg")
        for state in ("acked", "sent", "sending", "pending", "cancelled", "unconfirmed", "rejected", "failed")
    ),
]


def declarations(name: str, start: str = "") -> dict[str, str]:
    """Return the variables of a stylesheet, from a rule on."""
    css = re.sub(r"/\*.*?\*/", "", Path(finders.find(name)).read_text(), flags=re.S)
    rules = css[css.index(start) :] if start else css
    return dict(re.findall(r"(--[\w-]+):\s*([^;]+);", rules))


LIGHT = declarations("admin/css/base.css")
DARK = declarations("admin/css/dark_mode.css", 'html[data-theme="dark"]')
OURS = declarations("connectors/admin.css")


def colour(variable: str, theme: str) -> tuple[int, ...]:
    """Return red, green and blue of a variable."""
    value = ({**LIGHT, **DARK, **OURS} if theme == "dark" else {**LIGHT, **OURS})[variable].strip()
    if both := re.fullmatch(r"light-dark\((.+), (.+)\)", value):
        value = both[2] if theme == "dark" else both[1]
    if other := re.fullmatch(r"var\((--[\w-]+)\)", value):
        return colour(other[1], theme)
    digits = value.removeprefix("#")
    assert re.fullmatch(r"[0-9a-f]{3}|[0-9a-f]{6}", digits), value
    return tuple(
        int(pair, 16) for pair in re.findall("..", digits if len(digits) == 6 else "".join(2 * d for d in digits))
    )


def luminance(rgb: tuple[int, ...]) -> float:
    """Return the relative luminance, as WCAG 2.2 defines it."""
    linear = [c / 12.92 if (c := value / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for value in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the contrast ratio of two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_right():
    assert ratio((0, 0, 0), (255, 255, 255)) == 21
    assert round(ratio((0x77, 0x77, 0x77), (255, 255, 255)), 2) == 4.48


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("least", "front", "ground"), PAIRS, ids=lambda value: str(value))
def test_contrast(theme, least, front, ground):
    assert ratio(colour(front, theme), colour(ground, theme)) >= least


def test_every_colour_of_ours_is_measured():
    measured = {name for _, *pair in PAIRS for name in pair}

    assert OURS.keys() - measured == set()
