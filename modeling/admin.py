"""The admin: models can be promoted, trainings repeated and cancelled; nothing is edited by hand."""

import json
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from modeling.artifacts import ArtifactError
from modeling.models import ModelVersion, TrainingRun
from modeling.services import model_version_promote, training_run_cancel, training_run_create
from modeling.tasks import training_run_enqueue


class ReadOnlyAdmin(admin.ModelAdmin):
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.model._meta.fields]


def _pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, sort_keys=True))


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = ["version", "mode", "status", "average_precision", "calibration_error", "gates_text", "created_at"]
    list_filter = ["mode", "status"]
    search_fields = ["version"]
    actions = ["promote"]
    exclude = ["card"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), "card_text"]

    @admin.display(description=_("AP"))
    def average_precision(self, obj: ModelVersion) -> str:
        ap = obj.card["metrics"]["ap"]
        return f"{ap['value']:.3f} [{ap['low']:.3f}, {ap['high']:.3f}]"

    @admin.display(description=_("ECE"))
    def calibration_error(self, obj: ModelVersion) -> str:
        return f"{obj.card['metrics']['ece']['value']:.4f}"

    @admin.display(description=_("gates"))
    def gates_text(self, obj: ModelVersion) -> str:
        failed = [name for name, gate in obj.card["gates"].items() if not gate["ok"]]
        return ", ".join(failed) if failed else str(_("all passed"))

    @admin.display(description=_("model card"))
    def card_text(self, obj: ModelVersion) -> str:
        return _pretty(obj.card)

    @admin.action(description=_("Make champion (live uses it after its next start)"), permissions=["change"])
    def promote(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        if queryset.count() != 1:
            self.message_user(request, _("Choose exactly one model."), messages.ERROR)
            return
        try:
            promoted = model_version_promote(model_version=queryset.get())
        except ArtifactError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, _("%(version)s is champion now.") % {"version": promoted.version})


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    list_display = ["id", "dataset", "mode", "status", "percent", "message", "model_version", "created_at"]
    list_filter = ["mode", "status"]
    list_select_related = ["model_version"]
    actions = ["repeat", "cancel"]

    @admin.display(description=_("progress"))
    def percent(self, obj: TrainingRun) -> str:
        return f"{100 * obj.progress:.0f} %"

    @admin.action(description=_("Train again with the same settings"), permissions=["change"])
    def repeat(self, request: HttpRequest, queryset: QuerySet[TrainingRun]) -> None:
        for old in queryset:
            run = training_run_create(dataset=old.dataset, config=old.config, mode=old.mode, market=old.market)
            transaction.on_commit(partial(training_run_enqueue, run.pk))
        self.message_user(request, _("The trainings wait for a worker."))

    @admin.action(description=_("Cancel"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[TrainingRun]) -> None:
        count = sum(training_run_cancel(run=run) for run in queryset)
        self.message_user(request, ngettext("%d training stops.", "%d trainings stop.", count) % count)
