"""LightGBM's model text as one ONNX TreeEnsemble in float64, node by node, with LightGBM's own treatment of odd values.

Thresholds come from the model text: `dump_model` bends those at the ends of the number line to 1e300, so that
huge and infinite inputs would take other branches.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

BRANCH_LEQ = 0
SUM = 1
CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING_NONE, MISSING_NAN = 0, 2
ZERO_EDGE = float(np.float32(1e-35))
"""LightGBM reads |x| up to this as 0."""


class Tree(NamedTuple):
    """One tree as its text has it: node 0 is the root, a negative child is leaf ~child."""

    split_feature: list[int]
    threshold: list[float]
    decision_type: list[int]
    left_child: list[int]
    right_child: list[int]
    leaf_value: list[float]


def parse_trees(text: str) -> list[Tree]:
    return [_parse_tree(section) for section in text.split("\nTree=")[1:]]


def _parse_tree(section: str) -> Tree:
    lines = section.split("\n\n", 1)[0].splitlines()[1:]
    values = dict(line.split("=", 1) for line in lines)

    def numbers(name: str, kind: type) -> list:
        return [kind(value) for value in values.get(name, "").split()]

    real = ("threshold", "leaf_value")
    return Tree(**{name: numbers(name, float if name in real else int) for name in Tree._fields})


def thresholds(trees: list[Tree]) -> Iterator[tuple[int, float]]:
    """Yield (feature, threshold) of every split."""
    for tree in trees:
        yield from zip(tree.split_feature, tree.threshold, strict=True)


@dataclass
class _Columns:
    """The flat columns of ai.onnx.ml TreeEnsemble (opset 5)."""

    roots: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    split: list[float] = field(default_factory=list)
    missing_goes_true: list[int] = field(default_factory=list)
    true_id: list[int] = field(default_factory=list)
    true_is_leaf: list[int] = field(default_factory=list)
    false_id: list[int] = field(default_factory=list)
    false_is_leaf: list[int] = field(default_factory=list)
    leaf_weight: list[float] = field(default_factory=list)

    def add(self, tree: Tree) -> None:
        if not tree.split_feature:  # a tree that never split: both branches end in its one leaf
            tree = tree._replace(
                split_feature=[0], threshold=[0.0], decision_type=[DEFAULT_LEFT], left_child=[-1], right_child=[-1]
            )
        node_offset, leaf_offset = len(self.feature), len(self.leaf_weight)
        self.roots.append(node_offset)
        self.feature += tree.split_feature
        self.split += [_split(value) for value in tree.threshold]
        self.missing_goes_true += [
            int(_missing_goes_left(kind, value)) for kind, value in zip(tree.decision_type, tree.threshold, strict=True)
        ]
        self.leaf_weight += tree.leaf_value
        for child in tree.left_child:
            _point(child, node_offset, leaf_offset, self.true_id, self.true_is_leaf)
        for child in tree.right_child:
            _point(child, node_offset, leaf_offset, self.false_id, self.false_is_leaf)


def _point(child: int, node_offset: int, leaf_offset: int, ids: list[int], are_leaves: list[int]) -> None:
    ids.append(leaf_offset + ~child if child < 0 else node_offset + child)
    are_leaves.append(int(child < 0))


def _split(threshold: float) -> float:
    """Move a threshold inside LightGBM's zero to its edge, so that tiny values go where 0 goes."""
    if -ZERO_EDGE <= threshold < 0.0:
        return float(np.nextafter(-ZERO_EDGE, -np.inf))
    if 0.0 <= threshold < ZERO_EDGE:
        return ZERO_EDGE
    return threshold


def _missing_goes_left(decision_type: int, threshold: float) -> bool:
    if decision_type & CATEGORICAL:
        raise ValueError("Only numerical splits can be exported; this model has a categorical one.")
    missing = decision_type >> 2 & 3
    if missing == MISSING_NAN:
        return bool(decision_type & DEFAULT_LEFT)
    if missing == MISSING_NONE:  # the training rows had no gap here: LightGBM reads NaN as 0
        return threshold >= 0.0
    raise ValueError("Models trained with zero_as_missing cannot be exported.")


def tree_ensemble(trees: list[Tree], features: str, scores: str) -> onnx.NodeProto:
    """Return one node: `features` (n, F) float64 -> `scores` (n, 1) float64, without the start score.

    Thresholds and leaves stay float64 and trees keep their order, so sums equal LightGBM's to the last bit.
    """
    flat = _Columns()
    for tree in trees:
        flat.add(tree)
    return helper.make_node(
        "TreeEnsemble",
        [features],
        [scores],
        domain="ai.onnx.ml",
        aggregate_function=SUM,
        post_transform=0,
        n_targets=1,
        tree_roots=flat.roots,
        nodes_featureids=flat.feature,
        nodes_modes=numpy_helper.from_array(np.full(len(flat.feature), BRANCH_LEQ, np.uint8)),
        nodes_splits=numpy_helper.from_array(np.array(flat.split)),
        nodes_truenodeids=flat.true_id,
        nodes_trueleafs=flat.true_is_leaf,
        nodes_falsenodeids=flat.false_id,
        nodes_falseleafs=flat.false_is_leaf,
        nodes_missing_value_tracks_true=flat.missing_goes_true,
        leaf_targetids=[0] * len(flat.leaf_weight),
        leaf_weights=numpy_helper.from_array(np.array(flat.leaf_weight)),
    )
