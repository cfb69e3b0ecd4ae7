"""Routes: the tree with a form for each, a preview of who would be told, and an Alertmanager configuration taken over."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from monitoring.admin import route_import_page, route_preview_page
from monitoring.admin.opening import render, require
from monitoring.admin.route_form import RouteForm, initial_of
from monitoring.admin.route_tree import inherited, options, picture
from monitoring.models import Route
from monitoring.notifying import route_settings, routes
from triageops import wording
from triageops.admin import NoDeleteAdmin
from triageops.rest import Problem

VIEW = ("monitoring.view_route", "monitoring.change_route")
CHANGE, ADD, REMOVE = "monitoring.change_route", "monitoring.add_route", "monitoring.delete_route"
CHANGED = (
    "Somebody changed this route after this form was opened, so nothing was saved: it would undo that. Open the form anew, "
    "look at what is there now, and make your change again."
)
_LIST = "admin:monitoring_route_changelist"


@admin.register(Route)
class RouteAdmin(NoDeleteAdmin):
    """Its list is the tree; everything that changes it goes through route_settings."""

    class Media:
        css = {"all": ("monitoring/routes.css",)}

    def get_urls(self) -> list[URLPattern]:
        def view(address: str, page: Any, name: str) -> URLPattern:
            return path(address, self.admin_site.admin_view(page), name=f"monitoring_route_{name}")

        return [
            view("preview/", self.preview, "preview"),
            view("import/", self.import_view, "import"),
            view("<int:route_id>/move/", require_POST(self.move), "move"),
            view("<int:route_id>/remove/", self.remove, "remove"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, *VIEW)
        root = routes.tree()
        count = _count(root) if root else 0
        return render(
            self,
            request,
            "route_tree",
            "Routes",
            tree=picture(root) if root else None,
            sentence=_sentence(count),
            tone="neutral" if count else "look",
            may_add=request.user.has_perm(ADD),
            may_change=request.user.has_perm(CHANGE),
        )

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, ADD)
        root = routes.tree()
        asked = request.GET.get("parent", "")
        parent = int(asked) if asked.isdecimal() and len(asked) < 18 else (root.id if root else None)
        form = RouteForm(
            request.POST or None,
            initial={"parent": parent},
            parents=options(root) if root else [],
            above=inherited(root, parent),
        )
        if form.is_valid():
            try:
                route = route_settings.create(form.values())
            except Problem as problem:
                form.refuse(problem)
            else:
                self.log_addition(request, route, "Made.")
                messages.success(request, f"The route “{route}” was made; it is in force.")
                return HttpResponseRedirect(reverse(_LIST))
        title = "New route" if root else "The first route"
        return render(self, request, "route_form", title, form=form, is_first=root is None)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        require(request, *VIEW)
        rows = routes.stored()
        route = _found(object_id, rows)
        root = routes.tree_of(rows)
        may_change = request.user.has_perm(CHANGE)
        form = RouteForm(
            request.POST if request.method == "POST" and may_change else None,
            initial=initial_of(route),
            parents=options(root, route.pk) if root and route.parent_id else [],
            above=inherited(root, route.parent_id),
            steps=len(route.steps.all()),
        )
        if request.method == "POST":
            require(request, CHANGE)
        if form.is_valid():
            values = form.values()
            try:
                route_settings.edit(route.pk, values, version=form.cleaned_data["version"])
            except route_settings.RouteChanged:
                form.add_error(None, CHANGED)
            except Problem as problem:
                form.refuse(problem)
            else:
                self.log_change(request, route, f"Changed: {', '.join(form.changed_data) or 'nothing'}.")
                messages.success(request, f"The route “{values['name']}” was changed; it is in force.")
                return HttpResponseRedirect(reverse(_LIST))
        return render(
            self,
            request,
            "route_form",
            route.name,
            form=form,
            route=route,
            parent=next((row for row in rows if row.pk == route.parent_id), None),
            may_change=may_change,
            may_remove=request.user.has_perm(REMOVE),
            history=reverse("admin:monitoring_route_history", args=[route.pk]),
        )

    def move(self, request: HttpRequest, route_id: int) -> HttpResponse:
        require(request, CHANGE)
        by = -1 if request.POST.get("by") == "-1" else 1
        try:
            route = route_settings.move(route_id, by)
        except Route.DoesNotExist:
            raise Http404 from None
        self.log_change(request, route, "Moved up." if by < 0 else "Moved down.")
        return HttpResponseRedirect(reverse(_LIST) + f"#route-{route_id}")

    def remove(self, request: HttpRequest, route_id: int) -> HttpResponse:
        """What goes with it, then the question."""
        require(request, REMOVE)
        rows = list(Route.objects.all())
        route = _found(str(route_id), rows)
        below = route_settings.below(route, {row.pk: row for row in rows})
        if request.method == "POST":
            try:
                count = route_settings.remove(route_id, with_below=True)
            except Route.DoesNotExist:
                raise Http404 from None
            self.log_change(request, route, f"Removed, {wording.plural(count, 'route')} in all.")
            messages.success(request, f"{wording.plural(count, 'route')} removed.")
            return HttpResponseRedirect(reverse(_LIST))
        return render(self, request, "route_remove", f"Remove “{route}”?", route=route, below=below)

    def preview(self, request: HttpRequest) -> HttpResponse:
        require(request, *VIEW)
        return route_preview_page.page(self, request)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        require(request, ADD)
        require(request, CHANGE)
        require(request, "monitoring.add_channel")
        return route_import_page.page(self, request)


def _found(text: str, rows: Iterable[Route]) -> Route:
    route = next((row for row in rows if str(row.pk) == text), None)
    if route is None:
        raise Http404
    return route


def _count(node: Any) -> int:
    return 1 + sum(_count(child) for child in node.children)


def _sentence(count: int) -> str:
    if not count:
        return "There are no routes yet: only the channels that a monitor names are told."
    if count == 1:
        return "One route takes everything that is opened."
    return f"{wording.plural(count, 'route')} say who is told; each is asked from the top, and the deepest that fits decides."
