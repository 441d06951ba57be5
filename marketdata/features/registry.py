"""What a feature is called, what it means, and the hash that ties a model to the exact set."""

import hashlib
from typing import NamedTuple

FEATURE_SET_VERSION = 1
"""Raise it when a kernel's meaning changes and its formula text does not."""


class Feature(NamedTuple):
    """One column of the feature matrix, described for people and for the model card."""

    name: str
    unit: str
    window: str
    formula: str
    source: str
    text_en: str
    text_zh: str
    group: str


def feature_set_hash(features: tuple[Feature, ...], version: int = FEATURE_SET_VERSION) -> str:
    """Return the sha256 over version, names, windows and formulas in column order."""
    digest = hashlib.sha256(f"version={version}\n".encode())
    for feature in features:
        digest.update(f"{feature.name}\x1f{feature.window}\x1f{feature.formula}\n".encode())
    return digest.hexdigest()


def feature_table_markdown(features: tuple[Feature, ...]) -> str:
    """Return the features as a Markdown table for the documentation."""
    lines = ["| feature | unit | window | formula | source | what it says |", "|---|---|---|---|---|---|"]
    for feature in features:
        cells = (feature.name, feature.unit, feature.window, feature.formula, feature.source, feature.text_en)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
