"""Text can be read in both themes: WCAG AA contrast of every text colour on every surface it stands on."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).resolve().parents[2] / "static" / "css" / "variables.css").read_text(encoding="utf-8")
TEXTS = ("--text", "--text-strong", "--text-muted", "--accent-text", "--up-text", "--down-text", "--warning-text")
SURFACES = ("--background", "--panel", "--card")
ON_COLOUR = (("--on-accent", "--accent"), ("--on-warning", "--warning"))
AA = 4.5


def variables(theme: str) -> dict[str, str]:
    blocks = dict(re.findall(r'(:root(?:\[data-theme="light"\])?)[^{]*\{(.*?)\n\}', CSS, re.DOTALL))
    found = dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{3,6});", blocks[":root"]))
    if theme == "light":
        found |= dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{3,6});", blocks[':root[data-theme="light"]']))
    return found


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_knows_black_on_white() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21.0)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("surface", SURFACES)
def test_text_reaches_aa_on_every_surface(theme: str, text: str, surface: str) -> None:
    colours = variables(theme)
    assert contrast(colours[text], colours[surface]) >= AA


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("text", "surface"), ON_COLOUR)
def test_text_on_a_filled_colour_reaches_aa(theme: str, text: str, surface: str) -> None:
    colours = variables(theme)
    assert contrast(colours[text], colours[surface]) >= AA


def test_the_default_is_the_dark_of_the_design() -> None:
    dark = variables("dark")
    wanted = {"--background": "#131722", "--panel": "#1e222d", "--card": "#2a2e39", "--border": "#363a45"}
    wanted |= {"--accent": "#2962ff", "--up": "#26a69a", "--down": "#f23645", "--warning": "#ff9800"}
    assert {name: dark[name] for name in wanted} == wanted


def test_other_style_sheets_name_no_colour_that_a_theme_could_not_change() -> None:
    folder = Path(__file__).resolve().parents[2] / "static" / "css"
    for sheet in sorted(folder.glob("*.css")):
        if sheet.name in ("variables.css", "admin.css"):
            continue
        loose = re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", re.sub(r"#[\w-]+(?=[\s.:,{])", "", sheet.read_text()))
        assert loose == [], sheet.name
