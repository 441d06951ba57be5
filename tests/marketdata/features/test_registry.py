"""The register of features: complete, bilingual, and tied to models by a hash."""

import re

import pytest

from marketdata.features.feature_set import FEATURE_NAMES, FEATURE_SET_HASH, FEATURES, N_FEATURES
from marketdata.features.registry import Feature, feature_set_hash, feature_table_markdown


def test_there_are_enough_features_and_no_name_twice() -> None:
    assert N_FEATURES == len(FEATURES) == len(set(FEATURE_NAMES)) >= 45


@pytest.mark.parametrize("feature", FEATURES, ids=FEATURE_NAMES)
def test_it_is_described_in_both_languages(feature: Feature) -> None:
    assert all(feature)
    assert re.fullmatch(r"[a-z][a-z0-9_]+", feature.name)
    assert feature.text_en.endswith((".", "?"))
    assert re.search(r"[一-鿿]", feature.text_zh)
    assert not re.search(r"[一-鿿]", feature.text_en + feature.formula)


@pytest.mark.parametrize("changed", ["name", "window", "formula"])
def test_the_hash_changes_with_what_a_feature_means(changed: str) -> None:
    altered = (FEATURES[0]._replace(**{changed: "other"}), *FEATURES[1:])
    assert feature_set_hash(altered) != FEATURE_SET_HASH


def test_the_hash_changes_with_order_and_version_but_not_with_wording() -> None:
    assert feature_set_hash(FEATURES[::-1]) != FEATURE_SET_HASH
    assert feature_set_hash(FEATURES, version=2) != FEATURE_SET_HASH
    reworded = (FEATURES[0]._replace(text_en="Other words."), *FEATURES[1:])
    assert feature_set_hash(reworded) == FEATURE_SET_HASH
    assert re.fullmatch(r"[0-9a-f]{64}", FEATURE_SET_HASH)


def test_the_table_has_one_row_per_feature_and_escapes_bars() -> None:
    table = feature_table_markdown(FEATURES).splitlines()
    assert len(table) == N_FEATURES + 2
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in table)
