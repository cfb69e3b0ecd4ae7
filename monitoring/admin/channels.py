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

from monitoring.admin.dialogs import in_page
from monitoring.messages import enqueue_test
from monitoring.models import Channel
from monitoring.tasks import wake_delivery
from triageops.admin import NoDeleteAdmin, Tone, badge, moment


class TestForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""

    __test__ = False


class ChannelForm(forms.ModelForm[Channel]):
    """What is stored is never shown again: an empty field keeps it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.fields["secret"].help_text += " It is shown here only: copy it before you save."
            return
        words = {
            "url": f"Empty keeps the present one, {masked(self.instance.url)}.",
            "secret": "Empty keeps the present one. A new one: whsec_ and what `openssl rand -base64 32` says.",
        }
        # Who may only look has a form without fields.
        for name in words.keys() & self.fields.keys():
            self.initial[name] = ""
            self.fields[name].required = False
            self.fields[name].help_text = words[name]

    def clean_url(self) -> str:
        return self.cleaned_data["url"] or self.instance.url

    def clean_secret(self) -> str:
        # A row that is not stored yet has one already, which nobody has seen.
        return self.cleaned_data["secret"] or (self.instance.secret if self.instance.pk else "")


def masked(url: str) -> str:
    """Where it leads; the rest of the address may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}/…"


@admin.register(Channel)
class ChannelAdmin(NoDeleteAdmin):
    form = ChannelForm
    list_display = ("name", "kind", "host", "state", "created")
    search_fields = ("name",)
    list_before_template = "monitoring/list_head.html"
    empty_text = "Without a channel, an incident is seen only by those who look here."
    empty_link, empty_link_text = "admin:monitoring_channel_add", "Make the first channel"
    fields = ("name", "kind", "url", "secret", "takes_experiments", "is_enabled")
    actions_detail = ("send_test",)

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
        if obj is None:
            return self.fields
        if not self.has_change_permission(request, obj):
            return ("name", "kind", "address", "takes_experiments", "is_enabled", "state")
        return (*self.fields, "state")

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        return ("address", "state") if obj else ()

    @admin.display(description="URL")
    def address(self, channel: Channel) -> str:
        return masked(channel.url)

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
