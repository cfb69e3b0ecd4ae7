"""API keys: made, shown once, revoked."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from feedback.models import ALL_SCOPES, ApiKey, Scope
from triageops.admin import NoDeleteAdmin, Tone, badge, moment


class ApiKeyForm(forms.ModelForm[ApiKey]):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What the key may do. Give each client only what it needs.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "requests_per_minute", "expires_at")

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise forms.ValidationError("This is in the past; to end the key now, revoke it.")
        return expires_at


class RevokeForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


@admin.register(ApiKey)
class ApiKeyAdmin(NoDeleteAdmin):
    form = ApiKeyForm
    list_display = ("name", "shown_prefix", "state", "may", "last_used", "expires", "created")
    search_fields = ("name", "prefix__startswith")
    readonly_fields = ("shown_prefix", "state", "last_used", "created")
    actions_detail = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).defer("digest")

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> list[tuple[str | None, Any]]:
        form = (None, {"fields": ("name", "scopes", "requests_per_minute", "expires_at")})
        return [form, ("Use", {"fields": self.readonly_fields})] if obj else [form]

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # A revoked key stays as it was: its row explains what it once sent.
        return super().has_change_permission(request, obj) and not (
            isinstance(obj, ApiKey) and obj.revoked_at
        )

    def save_model(
        self,
        request: HttpRequest,
        obj: ApiKey,
        form: forms.ModelForm[ApiKey],
        change: bool,  # noqa: FBT001 (as Django calls it)
    ) -> None:
        if not change:
            secret = ApiKey.new_secret(obj.scopes)
            obj.take_secret(secret)
            # On this request only: the key is never written to a session, a cookie or a log.
            request.new_api_key = secret  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"API key for {obj.name}",
            "opts": self.opts,
            "key": obj,
            "secret": request.new_api_key,  # type: ignore[attr-defined]
        }
        return TemplateResponse(
            request, "feedback/api_key_created.html", context, headers={"Cache-Control": "no-store"}
        )

    @action(
        description="Revoke",
        url_path="revoke",
        icon="key_off",
        variant=ActionVariant.DANGER,
        permissions=["change"],
        dialog={
            "title": "Revoke this key?",
            "description": "Clients that use it are refused from now on, and so are feedback tokens that it issued. "
            "This cannot be undone; what the key has sent stays.",
            "form_class": RevokeForm,
            "form_submit_text": "Revoke the key",
        },
    )
    def revoke(self, request: HttpRequest, form: RevokeForm, object_id: str) -> HttpResponse:
        key = get_object_or_404(ApiKey, pk=object_id)
        if key.revoked_at is None:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            self.log_change(request, key, "Revoked.")
            messages.success(request, f"The key “{key.name}” is revoked.")
        # The dialog was sent by htmx, which follows this header with a whole new page.
        return HttpResponse(headers={"HX-Redirect": reverse("admin:feedback_apikey_changelist")})

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        is_usable = (
            str(object_id).isdecimal() and ApiKey.objects.filter(pk=object_id, revoked_at=None).exists()
        )
        return super().get_actions_detail(request, object_id) if is_usable else []

    @admin.display(description="key", ordering="prefix")
    def shown_prefix(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked_at is not None:
            return badge("revoked", Tone.LOOK)
        return badge("usable") if key.is_usable(timezone.now()) else badge("expired", Tone.LOOK)

    @admin.display(description="may")
    def may(self, key: ApiKey) -> str:
        return "everything" if set(key.scopes) >= set(ALL_SCOPES) else ", ".join(key.scopes)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString:
        return moment(key.last_used_at)

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> SafeString:
        return moment(key.expires_at)

    @admin.display(description="made", ordering="created_at")
    def created(self, key: ApiKey) -> SafeString:
        return moment(key.created_at)
