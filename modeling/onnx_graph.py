"""A TrainedModel as one fused ONNX graph in float64: features -> raw scores -> psi -> calibration -> probabilities.

ONNX Runtime computes Exp and Log in packets and the last odd elements one by one, and the two differ in the last
bit: a row's score would depend on how many rows are scored with it. So these operations only ever see `LANES`
columns, a multiple of every packet size; all other operations are exact. A score then is the same in any batch.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType

from modeling.calibration import LOGIT_EDGE, IsotonicCalibrator, PlattCalibrator
from modeling.heads import HUGE, Head, LinearRaw, RawModel, RuleRaw, TrainedModel, TreeRaw
from modeling.onnx_trees import parse_trees, tree_ensemble

OPSET = 21
ML_OPSET = 5
IR_VERSION = 10
LANES = 8
HEADS = 2
INPUT, PROBABILITIES, RAW_SCORES = "features", "probabilities", "raw_scores"


class _Graph:
    """Nodes and constants in the making; every operation returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray | float | list[int] | list[list[float]], dtype: type = np.float64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str | float, **attributes: Any) -> str:
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        out = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [out], **attributes))
        return out

    def add(self, node: onnx.NodeProto) -> str:
        self.nodes.append(node)
        return str(node.output[0])

    def columns(self, table: str, first: int, last: int) -> str:
        index = [self.constant([value], np.int64) for value in (first, last, 1)]
        return self.op("Slice", table, index[0], index[1], index[2])

    def in_lanes(self, kind: str, pair: str) -> str:
        """Apply `Exp` or `Log` to a table (n, 2) so that the result of a row does not depend on n."""
        wide = self.op("Concat", *[pair] * (LANES // HEADS), axis=1)
        return self.columns(self.op(kind, wide), 0, HEADS)


def fused_graph(model: TrainedModel, metadata: dict[str, str]) -> bytes:
    """Return the ONNX model of `model`: input `features` (n, F), outputs `probabilities` and `raw_scores` (n, 2)."""
    g = _Graph()
    n_features = len(model.feature_names)
    raw = g.op("Concat", *(_raw_score(g, head.model, n_features) for head in model.heads), axis=1)
    p = _calibrated(g, raw, model.heads)
    g.nodes.append(helper.make_node("Identity", [raw], [RAW_SCORES]))
    g.nodes.append(helper.make_node("Identity", [_together(g, p)], [PROBABILITIES]))
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        g.nodes,
        "surge",
        [helper.make_tensor_value_info(INPUT, double, ["rows", n_features])],
        [helper.make_tensor_value_info(name, double, ["rows", HEADS]) for name in (PROBABILITIES, RAW_SCORES)],
        g.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="surge")
    helper.set_model_props(made, dict(sorted(metadata.items())))
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString(deterministic=True))


def _raw_score(g: _Graph, model: RawModel, n_features: int) -> str:
    if isinstance(model, TreeRaw):  # one ensemble per head: ONNX Runtime is slower with two targets in one
        trees = g.add(tree_ensemble(parse_trees(model.text), INPUT, f"trees{len(g.nodes)}"))
        return g.op("Add", trees, model.start)
    if isinstance(model, RuleRaw):
        column = g.columns(INPUT, model.feature, model.feature + 1)
        known = g.op("Clip", g.op("Where", g.op("IsNaN", column), model.fill, column), -HUGE, HUGE)
        return g.op("Div", known, model.scale)
    if isinstance(model, LinearRaw):
        return _linear_score(g, model, n_features)
    raise TypeError(f"No export is known for a {type(model).__name__}.")


def _linear_score(g: _Graph, model: LinearRaw, n_features: int) -> str:
    filled = g.op("Where", g.op("IsNaN", INPUT), g.constant(model.fill[None, :]), INPUT)
    cut = g.op("Min", g.op("Max", filled, g.constant(model.low[None, :])), g.constant(model.high[None, :]))
    converted = to_onnx(
        model.pipeline,
        initial_types=[("prepared", DoubleTensorType([None, n_features]))],
        options={id(model.regression): {"zipmap": False, "raw_scores": True}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    ).graph
    return g.columns(_grafted(g, converted, cut, "probabilities"), 1, 2)


def _grafted(g: _Graph, part: onnx.GraphProto, source: str, wanted: str) -> str:
    """Copy what `wanted` needs out of a converted graph, fed from `source`, under names of its own."""
    prefix = f"l{len(g.nodes)}_"
    needed, keep = {wanted}, []
    for node in reversed(part.node):
        if needed & set(node.output):
            keep.append(node)
            needed |= set(node.input)
    rename = {part.input[0].name: source}
    for node in reversed(keep):
        fresh = onnx.NodeProto.FromString(node.SerializeToString())
        fresh.name = ""
        fresh.input[:] = [rename.get(name, prefix + name) for name in node.input]
        fresh.output[:] = [prefix + name for name in node.output]
        g.nodes.append(fresh)
    for tensor in part.initializer:
        if tensor.name in needed:
            fresh_tensor = onnx.TensorProto.FromString(tensor.SerializeToString())
            fresh_tensor.name = prefix + tensor.name
            g.constants.append(fresh_tensor)
    return prefix + wanted


def _calibrated(g: _Graph, raw: str, heads: tuple[Head, Head]) -> list[str]:
    gamma, alpha = heads[0].gamma, heads[0].alpha
    if any((head.gamma, head.alpha) != (gamma, alpha) for head in heads):
        raise ValueError("Both heads of a model must be fitted with the same loss.")
    p = _psi(g, raw, gamma, alpha)
    platt = _platt(g, p, heads) if any(isinstance(h.calibrator, PlattCalibrator) for h in heads) else p
    return [
        _isotonic(g, g.columns(p, i, i + 1), head.calibrator)
        if isinstance(head.calibrator, IsotonicCalibrator)
        else g.columns(platt, i, i + 1)
        for i, head in enumerate(heads)
    ]


def _sides(g: _Graph, z: str) -> tuple[str, str, str, str]:
    """Return |z|, sigmoid(-|z|), sigmoid(|z|) and -log sigmoid(|z|): no overflow, no cancellation."""
    size = g.op("Abs", z)
    small = g.in_lanes("Exp", g.op("Neg", size))
    whole = g.op("Add", small, 1.0)
    return size, g.op("Div", small, whole), g.op("Div", 1.0, whole), g.in_lanes("Log", whole)


def _psi(g: _Graph, z: str, gamma: float, alpha: float | None) -> str:
    """The operations of modeling.focal._probability, in its order."""
    size, low, high, log_high = _sides(g, z)
    is_up = g.op("GreaterOrEqual", z, 0.0)
    q, r = g.op("Where", is_up, high, low), g.op("Where", is_up, low, high)
    if gamma == 0.0 and alpha is None:
        return q
    log_low = g.op("Add", log_high, size)
    minus_log_q = g.op("Where", is_up, log_high, log_low)
    minus_log_r = g.op("Where", is_up, log_low, log_high)
    up = _psi_side(g, q, r, minus_log_r, gamma, 1.0 if alpha is None else 1.0 - alpha)
    down = _psi_side(g, r, q, minus_log_q, gamma, 1.0 if alpha is None else alpha)
    return g.op("Div", up, g.op("Add", up, down))


def _psi_side(g: _Graph, q: str, r: str, minus_log_r: str, gamma: float, weight: float) -> str:
    first = g.op("Pow", q, gamma + 1.0)
    second = g.op("Mul", g.op("Mul", g.op("Mul", g.op("Pow", q, gamma), gamma), r), minus_log_r)
    return g.op("Mul", g.op("Add", first, second), weight)


def _platt(g: _Graph, p: str, heads: tuple[Head, Head]) -> str:
    """Platt's line for both heads at once; columns of isotonic heads are computed and not read."""
    unread = PlattCalibrator(1.0, 0.0)
    lines = [head.calibrator if isinstance(head.calibrator, PlattCalibrator) else unread for head in heads]
    slope = g.constant([[line.slope for line in lines]])
    intercept = g.constant([[line.intercept for line in lines]])
    p = g.op("Clip", p, LOGIT_EDGE, 1.0 - LOGIT_EDGE)
    logit = g.op("Sub", g.in_lanes("Log", p), g.in_lanes("Log", g.op("Sub", 1.0, p)))
    z = g.op("Add", g.op("Mul", logit, slope), intercept)
    _, low, high, _ = _sides(g, z)
    return g.op("Where", g.op("GreaterOrEqual", z, 0.0), high, low)


def _isotonic(g: _Graph, p: str, calibrator: IsotonicCalibrator) -> str:
    """The operations of IsotonicCalibrator.apply on one column (n, 1)."""
    x, y = g.constant(np.array(calibrator.knots_x)), g.constant(np.array(calibrator.knots_y))
    p = g.op("Clip", p, calibrator.knots_x[0], calibrator.knots_x[-1])
    above = g.op("Cast", g.op("Greater", p, x), to=TensorProto.INT64)
    count = g.op("ReduceSum", above, g.constant([1], np.int64), keepdims=1)
    last = g.constant(len(calibrator.knots_x) - 1, np.int64)
    right = g.op("Min", g.op("Max", count, g.constant(1, np.int64)), last)
    left = g.op("Sub", right, g.constant(1, np.int64))
    y_left, x_left = g.op("Gather", y, left), g.op("Gather", x, left)
    rise = g.op("Sub", g.op("Gather", y, right), y_left)
    run = g.op("Sub", g.op("Gather", x, right), x_left)
    return g.op("Add", g.op("Mul", g.op("Div", rise, run), g.op("Sub", p, x_left)), y_left)


def _together(g: _Graph, p: list[str]) -> str:
    total = g.op("Max", g.op("Add", p[0], p[1]), 1.0)
    return g.op("Div", g.op("Concat", *p, axis=1), total)
