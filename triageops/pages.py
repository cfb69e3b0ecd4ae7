"""Middleware that only pages need: the API knows no sessions, so its requests do not pay for them."""

from collections.abc import Awaitable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


def _is_page(request: HttpRequest) -> bool:
    return not request.path_info.startswith("/api/v1/")


class PageSession(SessionMiddleware):
    def __call__(self, request: HttpRequest) -> Answer:
        return super().__call__(request) if _is_page(request) else self.get_response(request)


class PageAuthentication(AuthenticationMiddleware):
    def __call__(self, request: HttpRequest) -> Answer:
        return super().__call__(request) if _is_page(request) else self.get_response(request)


class PageMessages(MessageMiddleware):
    def __call__(self, request: HttpRequest) -> Answer:
        return super().__call__(request) if _is_page(request) else self.get_response(request)
