"""The shapes of the interface for programs; the rows themselves come from the selectors."""

from typing import Any

from rest_framework import serializers

from signals.models import Signal
from signals.selectors import signal_row


class GateSerializer(serializers.Serializer):
    name = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    threshold = serializers.FloatField()
    margin = serializers.FloatField(allow_null=True, help_text="0 or more passes")
    passed = serializers.BooleanField()


class CostPartsSerializer(serializers.Serializer):
    fees_bps = serializers.FloatField()
    spread_bps = serializers.FloatField()
    slippage_bps = serializers.FloatField()


class BarriersSerializer(serializers.Serializer):
    take_profit_bps = serializers.FloatField()
    stop_loss_bps = serializers.FloatField()
    horizon_s = serializers.FloatField()


class OutcomeSerializer(serializers.Serializer):
    result = serializers.ChoiceField(choices=["tp", "sl", "timeout", "unseen"], help_text="unseen: live was down")
    return_bps = serializers.FloatField(allow_null=True)
    net_bps = serializers.FloatField(allow_null=True, help_text="after all costs")
    mfe_bps = serializers.FloatField(allow_null=True, help_text="best on the way")
    mae_bps = serializers.FloatField(allow_null=True, help_text="worst on the way")
    settled_ns = serializers.CharField()


class SignalSerializer(serializers.Serializer):
    """One signal with the numbers behind it; the event stream pushes the same row."""

    public_id = serializers.UUIDField()
    symbol = serializers.CharField()
    market = serializers.ChoiceField(choices=["spot", "usdm"])
    mode = serializers.ChoiceField(choices=["demo", "production"])
    strategy = serializers.CharField()
    tier = serializers.ChoiceField(choices=["A", "B"])
    model_version = serializers.CharField()
    decided_at = serializers.DateTimeField()
    decided_ns = serializers.CharField(help_text="text, because JSON numbers lose nanoseconds")
    price = serializers.CharField()
    p_tp = serializers.FloatField(help_text="calibrated probability that the target is reached first")
    p_sl = serializers.FloatField(help_text="calibrated probability that the stop is reached first")
    utility_bps = serializers.FloatField(help_text="expected gain after all costs, bps of the position")
    cost_bps = serializers.FloatField()
    cost_parts = CostPartsSerializer()
    gates = GateSerializer(many=True)
    features = serializers.DictField(child=serializers.FloatField(allow_null=True))
    barriers = BarriersSerializer()
    outcome = OutcomeSerializer(allow_null=True)

    def to_representation(self, instance: Signal) -> dict[str, Any]:
        return signal_row(instance)


class SymbolSerializer(serializers.Serializer):
    """One row of the board."""

    symbol = serializers.CharField()
    p = serializers.FloatField(allow_null=True)
    p_sl = serializers.FloatField(allow_null=True)
    utility_bps = serializers.FloatField(allow_null=True)
    cost_bps = serializers.FloatField(allow_null=True)
    price = serializers.FloatField(allow_null=True)
    bid = serializers.FloatField(allow_null=True)
    ask = serializers.FloatField(allow_null=True)
    spread_bps = serializers.FloatField(allow_null=True)
    change_60s_bps = serializers.FloatField(allow_null=True)
    age_ms = serializers.FloatField(help_text="age of the data now")
    tick_ns = serializers.CharField(help_text="text, because JSON numbers lose nanoseconds")
    state = serializers.ChoiceField(choices=["live", "stale", "warming"])
    reason = serializers.CharField(allow_blank=True, allow_null=True, help_text="gates that hold a signal back")


class BoardSerializer(serializers.Serializer):
    state = serializers.ChoiceField(choices=["live", "warming", "stale", "empty"])
    age_ms = serializers.FloatField(allow_null=True)
    now_ms = serializers.IntegerField()
    live = serializers.IntegerField()
    warming = serializers.IntegerField()
    stale = serializers.IntegerField()
    rows = SymbolSerializer(many=True)


class ChartSerializer(serializers.Serializer):
    symbol = serializers.CharField()
    minutes = serializers.IntegerField()
    points = serializers.IntegerField()
    figure = serializers.DictField(help_text="a Plotly figure; colours are names of CSS variables")


class SignalFilterSerializer(serializers.Serializer):
    """What a list of signals may be narrowed by."""

    symbol = serializers.CharField(required=False, max_length=32)
    strategy = serializers.SlugField(required=False, max_length=64)
    tier = serializers.ChoiceField(required=False, choices=["A", "B"])
    since = serializers.DateTimeField(required=False, help_text="ISO time; signals decided at or after it")


class ChartRangeSerializer(serializers.Serializer):
    minutes = serializers.IntegerField(required=False, default=15, min_value=1, max_value=1440)
