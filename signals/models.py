"""What was decided and what became of it: strategies, signals and their outcomes."""

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Mode(models.TextChoices):
    DEMO = "demo", _("Demo")
    PRODUCTION = "production", _("Production")


class Strategy(models.Model):
    """The numbers a signal must pass, and the position it is priced for."""

    class Tier(models.TextChoices):
        A = "A", _("A: few and sure")
        B = "B", _("B: more and looser")

    name = models.SlugField(_("name"), max_length=64, unique=True)
    tier = models.CharField(_("tier"), max_length=1, choices=Tier.choices)
    is_active = models.BooleanField(_("active"), default=True)
    p_min = models.FloatField(
        _("least probability"),
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("A signal needs at least this calibrated probability of a surge (0 to 1)."),
    )
    utility_min_bps = models.FloatField(
        _("least utility (bps)"),
        help_text=_("Expected gain after every cost, in basis points of the position."),
    )
    notional_quote = models.FloatField(
        _("position (USDT)"),
        validators=[MinValueValidator(1.0)],
        help_text=_("The position size that costs are computed for."),
    )
    max_spread_bps = models.FloatField(_("largest spread (bps)"), validators=[MinValueValidator(0.0)])
    min_depth_ratio = models.FloatField(
        _("least depth / position"),
        validators=[MinValueValidator(0.0)],
        help_text=_("Asks within 10 bps must hold this many times the position."),
    )
    cooldown_s = models.FloatField(
        _("cooldown (s)"),
        validators=[MinValueValidator(0.0)],
        help_text=_("After a signal the same coin stays silent this long."),
    )
    release_ratio = models.FloatField(
        _("release ratio"),
        default=0.7,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("A new signal needs the probability to fall below this share of the threshold first."),
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("strategy")
        verbose_name_plural = _("strategies")
        ordering = ["tier", "name"]
        constraints = [
            models.CheckConstraint(condition=Q(p_min__gte=0, p_min__lte=1), name="strategy_p_min_is_a_probability"),
            models.CheckConstraint(condition=Q(notional_quote__gt=0), name="strategy_position_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.tier})"


class Signal(models.Model):
    """One surge call, written down before its outcome exists, with the numbers behind it."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    mode = models.CharField(max_length=10, choices=Mode.choices)
    market = models.CharField(_("market"), max_length=8)
    symbol = models.CharField(_("symbol"), max_length=32)
    strategy = models.ForeignKey(Strategy, on_delete=models.PROTECT, related_name="signals")
    model_version = models.ForeignKey("modeling.ModelVersion", on_delete=models.PROTECT, related_name="signals")
    decided_ns = models.BigIntegerField(_("decided (ns)"))
    decided_at = models.DateTimeField(_("decided at"), db_index=True)
    price = models.DecimalField(_("price"), max_digits=28, decimal_places=8)
    p_tp = models.FloatField(_("probability"))
    p_sl = models.FloatField(_("probability of the stop"))
    utility_bps = models.FloatField(_("utility (bps)"))
    cost_bps = models.FloatField(_("cost (bps)"))
    cost_parts = models.JSONField(default=dict)
    gates = models.JSONField(default=list)
    features = models.JSONField(default=dict)
    barriers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("signal")
        verbose_name_plural = _("signals")
        ordering = ["-decided_ns", "-id"]
        indexes = [
            models.Index(fields=["mode", "-decided_ns"], name="signal_by_time"),
            models.Index(fields=["mode", "symbol", "-decided_ns"], name="signal_by_symbol"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["mode", "market", "symbol", "strategy", "decided_ns"], name="signal_once_per_tick"
            ),
            models.CheckConstraint(condition=Q(p_tp__gte=0, p_tp__lte=1), name="signal_p_is_a_probability"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} p={self.p_tp:.2f} u={self.utility_bps:+.0f} bps at {self.decided_at:%Y-%m-%d %H:%M:%S}"


class SignalOutcome(models.Model):
    """What the label's own barriers say became of a signal."""

    class Result(models.TextChoices):
        TAKE_PROFIT = "tp", _("target reached")
        STOP = "sl", _("stopped")
        TIMEOUT = "timeout", _("timed out")
        UNSEEN = "unseen", _("not observed: live was down")

    signal = models.OneToOneField(Signal, on_delete=models.CASCADE, related_name="outcome")
    result = models.CharField(max_length=8, choices=Result.choices)
    entry_price = models.DecimalField(max_digits=28, decimal_places=8, null=True)
    settled_ns = models.BigIntegerField()
    return_bps = models.FloatField(_("return before fees (bps)"), null=True)
    net_bps = models.FloatField(_("return after costs (bps)"), null=True)
    mfe_bps = models.FloatField(_("best on the way (bps)"), null=True)
    mae_bps = models.FloatField(_("worst on the way (bps)"), null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("outcome")
        verbose_name_plural = _("outcomes")
        constraints = [
            models.CheckConstraint(condition=Q(mfe_bps__gte=F("mae_bps")), name="outcome_best_above_worst"),
            models.CheckConstraint(condition=Q(result="unseen") | Q(net_bps__isnull=False), name="outcome_has_its_net"),
        ]

    def __str__(self) -> str:
        net = "" if self.net_bps is None else f" {self.net_bps:+.0f} bps"
        return f"{self.get_result_display()}{net}"
