"""The Content-Security-Policy of every answer.

Own lines instead of django-csp: it is alive and good, but what we need of it is one header, and Django 6 brings the same
middleware itself. `frame-ancestors`, `form-action` and `connect-src` keep pages, forms and data on this host.
Two relaxations, both for the admin's theme (unfold): Alpine.js turns its attributes into functions, which needs
'unsafe-eval' (its CSP build cannot read the theme's expressions), and the theme sets styles inline. Scripts inline are
never allowed, so text that finds its way into a page stays text.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from triageops.rest import is_api

_EVERYWHERE = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
_ADMIN = _EVERYWHERE | {"script-src": "'self' 'unsafe-eval'"}


def _as_header(policy: dict[str, str]) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in policy.items())


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: adds the header unless a view has set its own."""

    admin, everywhere = _as_header(_ADMIN), _as_header(_EVERYWHERE)

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_admin = not is_api(request) and request.path.startswith(reverse("admin:index"))
        response.headers.setdefault("Content-Security-Policy", admin if is_admin else everywhere)
        return response

    return middleware
