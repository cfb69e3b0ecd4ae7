"""Channels: where alerts go, how each does, and what can be done with it."""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from monitoring import channel_settings
from monitoring.admin import channel_health, channel_page
from monitoring.admin.channel_form import (
    DEFAULT_KIND,
    ChannelForm,
    fields_of,
)
from monitoring.admin.dialogs import ReasonForm, dialog, in_page
from monitoring.admin.first_line import FirstLine
from monitoring.admin.usefulness import of_monitor
from monitoring.admin.usefulness import page as usefulness_page
from monitoring.channel_settings import masked
from monitoring.channels import registry
from monitoring.channels.sink import Sink
from monitoring.models import Channel
from monitoring.notifying.messages import enqueue_test
from monitoring.reading.channel_health import Waiting, condition_of
from monitoring.tasks import wake_delivery
from triageops.admin import NoDeleteAdmin, Tone, badge, moment


class TestForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""

    __test__ = False


@admin.register(Channel)
class ChannelAdmin(NoDeleteAdmin, FirstLine):
    class Media:
        css = {"all": ("monitoring/channels.css",)}

    form = ChannelForm
    list_display = ("name", "kind", "host", "state", "last_success", "created")
    list_select_related = ("health",)
    search_fields = ("name",)
    list_before_template = "monitoring/channel_list_head.html"
    change_form_outer_before_template = "monitoring/channel.html"
    empty_text = "Without a channel, an incident is seen only by those who look here."
    empty_link, empty_link_text = "admin:monitoring_channel_add", "Make the first channel"
    actions_detail = ("send_test", "rotate", "disable", "enable")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("health/", view(partial(channel_health.page, self)), name="monitoring_channel_health"),
            path("usefulness/", view(partial(usefulness_page, self)), name="monitoring_usefulness"),
            path("usefulness/<int:monitor_id>/", view(of_monitor), name="monitoring_monitor_usefulness"),
            path("<int:channel_id>/health/", view(channel_page.uses), name="monitoring_channel_own_health"),
            path(
                "<int:channel_id>/test/<uuid:message_id>/",
                view(partial(channel_page.outcome, self)),
                name="monitoring_channel_outcome",
            ),
            path(
                "<int:channel_id>/new-secret/",
                view(partial(channel_page.new_secret, self)),
                name="monitoring_channel_new_secret",
            ),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        rows = super().get_queryset(request).select_related("health", "template")
        return rows.exclude(kind=Sink.name)

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        return channel_health.first_line(Channel.objects.of_people().select_related("health"), timezone.now())

    @in_page
    @action(
        description="Send test",
        url_path="send-test",
        icon="send",
        permissions=["change"],
        dialog={
            "title": "Send a test message?",
            "description": "It says that it is a test. You will see whether it arrived, and what the receiver answered.",
            "form_class": TestForm,
            "form_submit_text": "Send",
        },
    )
    def send_test(self, request: HttpRequest, form: TestForm, object_id: str) -> HttpResponse:
        channel = get_object_or_404(Channel, pk=object_id)
        message = enqueue_test(channel, now=timezone.now())
        wake_delivery()
        self.log_change(request, channel, "Sent a test message.")
        address = reverse("admin:monitoring_channel_outcome", args=[channel.pk, message.pk])
        return HttpResponse(headers={"HX-Redirect": address})

    @action(description="New secret", url_path="rotate", icon="key", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:monitoring_channel_new_secret", args=[object_id]))

    @in_page
    @action(
        description="Disable",
        url_path="disable",
        icon="pause",
        permissions=["change"],
        dialog=dialog(
            "Disable this channel?",
            "Its messages wait for up to 24 hours and are then given up; nobody hears of them meanwhile.",
            "Disable",
            ReasonForm,
        ),
    )
    def disable(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        return self._set_enabled(request, object_id, reason=form.cleaned_data["reason"])

    @in_page
    @action(
        description="Enable",
        url_path="enable",
        icon="play_arrow",
        permissions=["change"],
        dialog=dialog("Enable this channel?", "What waits for it is sent at once.", "Enable"),
    )
    def enable(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self._set_enabled(request, object_id)

    def _set_enabled(self, request: HttpRequest, object_id: str, reason: str = "") -> HttpResponse:
        channel = get_object_or_404(Channel, pk=object_id)
        channel_settings.set_enabled(channel.pk, is_enabled=not reason, reason=reason)
        wake_delivery()
        self.log_change(request, channel, f"Disabled: {reason}" if reason else "Enabled.")
        messages.success(request, f"“{channel}” is {'disabled' if reason else 'enabled'}.")
        address = reverse("admin:monitoring_channel_change", args=[channel.pk])
        return HttpResponse(headers={"HX-Redirect": address})

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        channel = self.get_object(request, str(object_id))
        if channel is None:
            return []
        left_out = {"disable" if not channel.is_enabled else "enable"}
        if channel.kind not in dict(registry.choices()) or not channel_settings.is_signed(channel.kind):
            left_out.add("rotate")
        found = super().get_actions_detail(request, object_id)
        return [
            one
            for one in found
            if not any(one.path.startswith(name) or name in one.action_name for name in left_out)
        ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Channel | None:
        """The row, read once for each request: the page and its buttons ask for it."""
        read: dict[str, Channel | None] = request.__dict__.setdefault("channels_read", {})
        if object_id not in read or request.method == "POST":
            read[object_id] = super().get_object(request, object_id, from_field)
        return read[object_id]

    def get_form(
        self,
        request: HttpRequest,
        obj: Channel | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django calls it so
        **kwargs: Any,
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.kind_of_new = _kind(request)
        return form

    def get_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        if obj is None:
            return fields_of(str(request.POST.get("kind") or _kind(request)))
        if not self.has_change_permission(request, obj):
            return ("name", "kind", "address", "template", "takes_experiments", "state")
        return fields_of(obj.kind)

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        return ("address", "state") if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context: dict[str, Any] = {"show_save_and_add_another": False, "show_save_and_continue": False}
        channel = self.get_object(request, object_id) if object_id else None
        if channel is not None and request.method == "GET":
            context |= channel_page.page_of(channel, timezone.now())
        elif object_id is None:
            context |= channel_page.page_of_new(_kind(request))
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def response_add(
        self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To its page, where it is tested."""
        messages.success(request, f"“{obj}” was made. Send a test message to see whether it arrives.")
        return HttpResponseRedirect(reverse("admin:monitoring_channel_change", args=[obj.pk]))

    def response_change(self, request: HttpRequest, obj: Channel) -> HttpResponse:
        messages.success(request, f"“{obj}” was saved.")
        return HttpResponseRedirect(reverse("admin:monitoring_channel_change", args=[obj.pk]))

    @admin.display(description="address")
    def address(self, channel: Channel) -> str:
        return masked(channel.url) or "–"

    @admin.display(description="host")
    def host(self, channel: Channel) -> str:
        """The rest of the address may be a secret."""
        return urlsplit(channel.url).netloc.rpartition("@")[2] or "–"

    @admin.display(description="state")
    def state(self, channel: Channel) -> SafeString | str:
        if channel.is_enabled:
            health = getattr(channel, "health", None)
            condition = condition_of(channel, health, Waiting(), timezone.now())
            return channel_health.badge_of(condition)
        word = badge("disabled", Tone.HARM if channel.disabled_reason else Tone.LOOK)
        return word + (f" {channel.disabled_reason}" if channel.disabled_reason else "")

    @admin.display(description="last success")
    def last_success(self, channel: Channel) -> SafeString:
        health = getattr(channel, "health", None)
        return moment(health.last_success_at if health else None)

    @admin.display(description="made", ordering="created_at")
    def created(self, channel: Channel) -> SafeString:
        return moment(channel.created_at)


def _kind(request: HttpRequest) -> str:
    asked = request.POST.get("kind") or request.GET.get("kind", "")
    return asked if asked in dict(registry.choices()) else DEFAULT_KIND
