"""Middleware that only pages need: the API knows no sessions, so its requests do not pay for them."""

from collections.abc import Awaitable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from triageops.rest import is_api

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class PageSession(SessionMiddleware):
    def __call__(self, request: HttpRequest) -> Answer:
        return self.get_response(request) if is_api(request) else super().__call__(request)


class PageAuthentication(AuthenticationMiddleware):
    def __call__(self, request: HttpRequest) -> Answer:
        return self.get_response(request) if is_api(request) else super().__call__(request)


class PageMessages(MessageMiddleware):
    def __call__(self, request: HttpRequest) -> Answer:
        return self.get_response(request) if is_api(request) else super().__call__(request)
