"""LightGBM trees as one ONNX TreeEnsemble in float64, node by node, with LightGBM's own treatment of missing values."""

from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
from onnx import helper, numpy_helper

BRANCH_LEQ = 0
SUM = 1


@dataclass
class _Ensemble:
    """The flat columns of ai.onnx.ml TreeEnsemble (opset 5)."""

    roots: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    missing_goes_true: list[int] = field(default_factory=list)
    true_id: list[int] = field(default_factory=list)
    true_is_leaf: list[int] = field(default_factory=list)
    false_id: list[int] = field(default_factory=list)
    false_is_leaf: list[int] = field(default_factory=list)
    leaf_weight: list[float] = field(default_factory=list)

    def add_tree(self, tree: dict[str, Any]) -> None:
        self.roots.append(len(self.feature))
        if "split_feature" not in tree:  # a tree that never split: both branches end in the one leaf
            tree = {
                "split_feature": 0,
                "threshold": 0.0,
                "decision_type": "<=",
                "missing_type": "None",
                "default_left": True,
                "left_child": tree,
                "right_child": tree,
            }
        self._add_node(tree)

    def _add_node(self, node: dict[str, Any]) -> int:
        row = len(self.feature)
        self.feature.append(int(node["split_feature"]))
        self.threshold.append(float(node["threshold"]))
        self.missing_goes_true.append(int(_missing_goes_left(node)))
        for column in (self.true_id, self.true_is_leaf, self.false_id, self.false_is_leaf):
            column.append(0)
        self.true_id[row], self.true_is_leaf[row] = self._add_child(node["left_child"])
        self.false_id[row], self.false_is_leaf[row] = self._add_child(node["right_child"])
        return row

    def _add_child(self, child: dict[str, Any]) -> tuple[int, int]:
        if "split_feature" in child:
            return self._add_node(child), 0
        self.leaf_weight.append(float(child["leaf_value"]))
        return len(self.leaf_weight) - 1, 1


def _missing_goes_left(node: dict[str, Any]) -> bool:
    if node["decision_type"] != "<=":
        raise ValueError(f"Only numerical splits can be exported, not {node['decision_type']!r}.")
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    if node["missing_type"] == "None":  # the training rows had no gap here: LightGBM reads NaN as 0
        return bool(node["threshold"] >= 0.0)
    raise ValueError("Models trained with zero_as_missing cannot be exported.")


def tree_ensemble(booster: lgb.Booster, features: str, scores: str) -> onnx.NodeProto:
    """Return one node: `features` (n, F) float64 -> `scores` (n, 1) float64, without the start score.

    Thresholds and leaves stay float64 and trees keep their order, so sums equal LightGBM's to the last bit.
    Known difference: 0 < |x| <= 1e-35 is 0 to LightGBM; no threshold lies in there.
    """
    flat = _Ensemble()
    for tree in booster.dump_model()["tree_info"]:
        flat.add_tree(tree["tree_structure"])
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
        nodes_splits=numpy_helper.from_array(np.array(flat.threshold)),
        nodes_truenodeids=flat.true_id,
        nodes_trueleafs=flat.true_is_leaf,
        nodes_falsenodeids=flat.false_id,
        nodes_falseleafs=flat.false_is_leaf,
        nodes_missing_value_tracks_true=flat.missing_goes_true,
        leaf_targetids=[0] * len(flat.leaf_weight),
        leaf_weights=numpy_helper.from_array(np.array(flat.leaf_weight)),
    )
