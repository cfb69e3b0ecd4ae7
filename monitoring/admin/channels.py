"""Channels: where alerts go, with a test."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from monitoring.messages import enqueue_test
from monitoring.models import Channel
from monitoring.tasks import wake_delivery
from triageops.admin import NoDeleteAdmin, Tone, badge, moment


class TestForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""

    __test__ = False


@admin.register(Channel)
class ChannelAdmin(NoDeleteAdmin):
    list_display = ("name", "kind", "host", "state", "created")
    search_fields = ("name",)
    list_before_template = "monitoring/list_head.html"
    empty_text = "Without a channel, an incident is seen only by those who look here."
    empty_link, empty_link_text = "admin:monitoring_channel_add", "Make the first channel"
    fields = ("name", "kind", "url", "secret", "is_enabled")
    actions_detail = ("send_test",)

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
        messages.info(request, "The test message is on its way; reload this page to see what came of it.")
        address = reverse("admin:monitoring_outboxmessage_change", args=[message.pk])
        return HttpResponse(headers={"HX-Redirect": address})

    def save_model(
        self,
        request: HttpRequest,
        obj: Channel,
        form: forms.ModelForm[Channel],
        change: bool,  # noqa: FBT001 - Django calls it so
    ) -> None:
        if obj.is_enabled:
            obj.disabled_reason = ""
        super().save_model(request, obj, form, change)

    def get_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        return (*self.fields, "state") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        return ("state",) if obj else ()

    @admin.display(description="host")
    def host(self, channel: Channel) -> str:
        """The rest of the address may be a secret."""
        return urlsplit(channel.url).hostname or "–"

    @admin.display(description="state")
    def state(self, channel: Channel) -> SafeString | str:
        if channel.is_enabled:
            return badge("enabled")
        word = badge("disabled", Tone.HARM if channel.disabled_reason else Tone.LOOK)
        return word + (f" {channel.disabled_reason}" if channel.disabled_reason else "")

    @admin.display(description="made", ordering="created_at")
    def created(self, channel: Channel) -> SafeString:
        return moment(channel.created_at)
