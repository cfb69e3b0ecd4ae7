"""The form of a channel: the fields that its kind has, and where each value comes from."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from unfold.widgets import UnfoldAdminTextareaWidget

from monitoring.channel_settings import SAY_ANEW, is_signed, masked, needs_secret_anew, settings_of
from monitoring.channels import registry
from monitoring.channels.webhook import new_secret
from monitoring.models import Channel
from triageops.rest import InvalidInput

DEFAULT_KIND = "webhook"
PAGERDUTY_HOOK = "/api/v1/hooks/pagerduty/{}"

ABOUT: Mapping[str, str] = {
    "webhook": "Your own receiver gets signed JSON (Standard Webhooks) for everything that happens to an incident.",
    "slack": "Messages with buttons in one Slack channel.",
    "pagerduty": "Pages whoever is on call; what is acknowledged or resolved there is so here too.",
    "alertmanager": "Incidents appear as alerts of an Alertmanager, for as long as they are open.",
    "email": "Mails to people or lists; the mails of one incident are one thread.",
    "inbox": "Nothing leaves the product: messages are kept for those who look into the inbox here.",
}
STEPS: Mapping[str, tuple[str, ...]] = {
    "webhook": (
        "Give the receiver's https address. Its host must be public, unless the deployment allows a private one.",
        "Give the secret below to the receiver, which checks the header webhook-signature with it (libraries: standardwebhooks).",
        "Answer with 2xx within 15 seconds. What has the same webhook-id was sent before.",
    ),
    "slack": (
        "At api.slack.com/apps, make an app for your workspace (or open one), and turn on Incoming Webhooks.",
        "Add a webhook to the workspace and choose the channel it posts to.",
        "Copy its address, https://hooks.slack.com/services/…, to here.",
    ),
    "pagerduty": (
        "In PagerDuty, open the service, tab Integrations, add “Events API V2”, and copy its integration key to here.",
        "An account in the EU also gives the address https://events.eu.pagerduty.com/v2/enqueue.",
        "Once saved, this page shows the address to which PagerDuty can send acknowledgements back.",
    ),
    "alertmanager": (
        "Give the address under which the Alertmanager's own page is found, without /api.",
        "If it asks for a password, give “user:password” or a token.",
        "Firing incidents are sent again every minute, as an Alertmanager expects; resolved ones are closed there.",
    ),
    "email": (
        "Give the addresses. The deployment sets the mail server in TRIAGEOPS_EMAIL_URL.",
        "A reply reaches nobody here: acknowledge by the link in the mail.",
    ),
    "inbox": ("There is nothing to set up: name it in a route, or in a monitor.",),
}
_HELP: Mapping[tuple[str, str], str] = {
    ("webhook", "url"): "Where messages are posted. Whoever knows it can post there: treat it as secret.",
    ("webhook", "secret"): "Signs what the receiver gets (Standard Webhooks). Give it to the receiver, and to nobody else.",
    ("slack", "url"): "The webhook's address, https://hooks.slack.com/services/… Whoever knows it can post there.",
    ("pagerduty", "secret"): "The integration key (routing key) of an Events API V2 integration: 32 characters.",
    ("pagerduty", "url"): "Only for an account in the EU: https://events.eu.pagerduty.com/v2/enqueue. Empty: PagerDuty's usual address.",
    ("pagerduty", "inbound_secret"): "The signing secret that PagerDuty shows once when its webhook subscription is made.",
    ("alertmanager", "url"): "For example https://alertmanager.example.org, without /api.",
    ("alertmanager", "secret"): "Empty, “user:password”, or a bearer token.",
    ("email", "recipients"): "Addresses, separated by commas; at most 50.",
}  # fmt: skip
_LABELS: Mapping[tuple[str, str], str] = {
    ("webhook", "url"): "Address of the receiver",
    ("webhook", "secret"): "Signing secret",
    ("slack", "url"): "Webhook address",
    ("pagerduty", "secret"): "Integration key",
    ("pagerduty", "url"): "Address of the Events API",
    ("pagerduty", "inbound_secret"): "Secret of PagerDuty's webhook",
    ("alertmanager", "url"): "Address",
    ("alertmanager", "secret"): "Credentials",
    ("email", "recipients"): "Recipients",
}
_SECRETS = ("url", "secret", "inbound_secret")
_OPTIONAL = frozenset({("pagerduty", "url"), ("pagerduty", "inbound_secret"), ("alertmanager", "secret")})


def fields_of(kind: str) -> tuple[str, ...]:
    """In the order of the form."""
    own = settings_of(kind) if kind in dict(registry.choices()) else frozenset({"url", "secret"})
    order = ("secret", "url", "inbound_secret") if kind == "pagerduty" else ("url", "secret", "recipients")
    return ("name", "kind", *(name for name in order if name in own), "template", "takes_experiments")


def hook_address(channel: Channel) -> str:
    """What PagerDuty is given."""
    return settings.BASE_URL + PAGERDUTY_HOOK.format(channel.pk)


class ChannelForm(forms.ModelForm[Channel]):
    """What is stored is never shown again: an empty field keeps it."""

    kind_of_new: ClassVar[str] = DEFAULT_KIND

    class Meta:
        widgets: ClassVar = {"recipients": UnfoldAdminTextareaWidget(attrs={"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            # A row that is not stored yet has a secret already, which nobody has seen.
            self.instance.secret = ""
        self.kind = self.instance.kind if self.instance.pk else self._kind_of_new()
        if "kind" in self.fields:
            # Chosen before the form, and never changed: another kind is another channel.
            self.fields["kind"].widget = forms.HiddenInput()
            self.fields["kind"].required = False
            self.initial["kind"] = self.kind
        for name in ("url", "secret", "inbound_secret", "recipients"):
            # Who may only look has a form without fields.
            if name in self.fields:
                self._explain(name)

    def _kind_of_new(self) -> str:
        asked = str(self.data.get("kind") or self.kind_of_new)
        return asked if asked in dict(registry.choices()) else DEFAULT_KIND

    def _explain(self, name: str) -> None:
        field, key = self.fields[name], (self.kind, name)
        field.label = _LABELS.get(key, field.label)
        field.help_text = _HELP.get(key, field.help_text)
        is_new = self.instance.pk is None
        field.required = is_new and key not in _OPTIONAL
        if is_new:
            is_own = name == "secret" and is_signed(self.kind)
            if name in _SECRETS:
                self.initial[name] = new_secret() if is_own else ""
            if is_own:
                field.help_text += " It is shown here only: copy it before you save."
        elif name in _SECRETS:
            self._keep(name, str(getattr(self.instance, name)))

    def _keep(self, name: str, stored: str) -> None:
        field = self.fields[name]
        self.initial[name] = ""
        if not stored:
            return
        if name == "url":
            field.help_text += f" Empty keeps the present one: {masked(stored)}"
        elif is_signed(self.kind):
            field.help_text += (
                " Empty keeps the present one; the button “New secret” makes another. One of your own: whsec_ and what "
                "`openssl rand -base64 32` says."
            )
        else:
            field.help_text += " Empty keeps the present one."

    def add_error(self, field: str | None, error: Any) -> None:
        """What is missing is said once: what the model says of an empty value adds nothing."""
        if field is None and hasattr(error, "error_dict"):
            error.error_dict = {
                name: found for name, found in error.error_dict.items() if name not in self.errors
            }
        super().add_error(field, error)

    def clean_kind(self) -> str:
        return self.kind

    def clean_url(self) -> str:
        return self.cleaned_data["url"] or self.instance.url

    def clean_secret(self) -> str:
        return self.cleaned_data["secret"] or self.instance.secret

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        is_kept = self.instance.pk and "url" in found and not self.data.get(self.add_prefix("secret"))
        # The instance has still the stored address.
        if is_kept and self._goes_elsewhere(found["url"]):
            self.add_error("secret", SAY_ANEW)
        return found

    def _goes_elsewhere(self, url: str) -> bool:
        try:
            return needs_secret_anew(self.instance, self.instance.url, url)
        except InvalidInput:
            # Said of the address itself.
            return False

    def clean_inbound_secret(self) -> str:
        return self.cleaned_data["inbound_secret"] or self.instance.inbound_secret
