"""The registry: which models exist, which one decides, and how each came to be."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Mode(models.TextChoices):
    DEMO = "demo", _("Demo")
    PRODUCTION = "production", _("Production")


class ModelVersion(models.Model):
    """A trained, exported model. Its files lie under the models folder in a folder named after the version."""

    class Status(models.TextChoices):
        CANDIDATE = "candidate", _("Candidate")
        CHAMPION = "champion", _("Champion")
        RETIRED = "retired", _("Retired")

    version = models.SlugField(_("version"), max_length=80, unique=True)
    created_at = models.DateTimeField(_("created at"))
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.CANDIDATE)
    mode = models.CharField(_("mode"), max_length=10, choices=Mode.choices)
    feature_set_hash = models.CharField(_("feature set"), max_length=64)
    card = models.JSONField(_("model card"))
    folder = models.CharField(_("folder"), max_length=200, help_text=_("Relative to the models folder."))
    sha256 = models.CharField(_("SHA-256 of the model"), max_length=64)
    promoted_at = models.DateTimeField(_("promoted at"), null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("model version")
        verbose_name_plural = _("model versions")
        constraints = [
            models.UniqueConstraint(
                fields=["mode"], condition=Q(status="champion"), name="modeling_one_champion_per_mode"
            ),
            models.CheckConstraint(
                condition=~Q(status="champion") | Q(promoted_at__isnull=False), name="modeling_champion_was_promoted"
            ),
        ]

    def __str__(self) -> str:
        return self.version

    @property
    def gates_passed(self) -> bool:
        return all(gate["ok"] for gate in self.card["gates"].values())


class TrainingRun(models.Model):
    """One training: what was asked for, how far it is, and what came out."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    dataset = models.TextField(_("dataset"), help_text=_("A name such as simulated, or capture files, one a line."))
    market = models.CharField(_("market"), max_length=10)
    mode = models.CharField(_("mode"), max_length=10, choices=Mode.choices)
    config = models.JSONField(_("settings"))
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.QUEUED)
    progress = models.FloatField(_("progress"), default=0.0, help_text=_("Share done, 0 to 1."))
    message = models.CharField(_("step"), max_length=200, blank=True)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="training_runs"
    )

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("training run")
        verbose_name_plural = _("training runs")

    def __str__(self) -> str:
        return f"{self.dataset} ({self.get_status_display()})"
