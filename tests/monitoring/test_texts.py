import time
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from monitoring.templating.text_filters import FILTERS, VALUE_MAX
from monitoring.templating.texts import BODY_MAX, FIELDS, TITLE_MAX, BrokenText, check, render

INCIDENT: dict[str, Any] = {
    "title": "helpfulness is below 0.8 for <b>",
    "state": "firing",
    "severity": "critical",
    "effect_text": "0.7 against 0.8",
    "affected_count": 0,
    "labels": {"lang": "es", "model": "m2"},
    "slices": [{"name": "lang=es", "share": 0.71}, {"name": "model=m2", "share": 0.2}],
    "runbook_url": "",
}


def body(source: str, *payloads: dict[str, Any]) -> str:
    return render("", source, payloads or [INCIDENT]).body


def test_text_shows_values_as_they_are() -> None:
    found = render(
        "{{ incident.severity }}:\n {{ incident.title }}", "{{ incident.effect_text }}", [INCIDENT]
    )
    assert (found.title, found.body) == ("critical: helpfulness is below 0.8 for <b>", "0.7 against 0.8")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ incident.severity|upper }}", "CRITICAL"),
        ("{{ incident.severity|upper|lower }}", "critical"),
        ("{{ incident.runbook_url|default:'none' }}", "none"),
        ("{{ incident.affected_count|default:'none' }}", "0"),
        ("{{ incident.note }}.", "."),
        ("{{ incident.title|truncate:12 }}", "helpfulness…"),
        ("{{ incident.slices|count }} {{ incident.note|count }}", "2 0"),
        ("{{ incident.labels }}", "lang=es, model=m2"),
        ("{{ incident.labels.lang }}", "es"),
        ("{{ incident.slices.0.name }}{{ incident.slices.9.name }}", "lang=es"),
        ("{{ incident.slices|join:' / ' }}", "name=lang=es, share=0.71 / name=model=m2, share=0.2"),
        ("{% for s in incident.slices %}{{ forloop.counter }} {{ s.name }};{% endfor %}", "1 lang=es;2 model=m2;"),
        ("{% for l in incident.labels %}{{ l.name }}:{{ l.value }} {% endfor %}", "lang:es model:m2"),
        ("{% if incident.severity == 'critical' and not incident.note %}a{% else %}b{% endif %}", "a"),
        ("{% if count > 3 %}a{% elif count == 1 %}b{% else %}c{% endif %}", "b"),
        ("{% if 'lang' in incident.labels %}a{% endif %}", "a"),
        ("{# nothing #}{{ 'a' }}{{ 7 }}", "a7"),
    ],
)  # fmt: skip
def test_text_of_each_part_of_the_language(source: str, found: str) -> None:
    assert body(source) == found
    assert check("", source) == []


def test_text_about_a_group_counts_and_lists_it() -> None:
    over = INCIDENT | {"state": "resolved", "title": "over"}
    source = "{{ count }} {{ firing_count }} {{ resolved_count }}:{% for i in incidents %} {{ i.title }}{% if not forloop.last %},{% endif %}{% endfor %}"
    assert body(source, INCIDENT, over, over) == "3 1 2: helpfulness is below 0.8 for <b>, over, over"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% debug %}", "line 1: There is no “debug” here"),
        ("\n{% load static %}", "line 2: There is no “load” here"),
        ("{% include 'admin/base.html' %}", "no “include”"),
        ("{% extends 'x' %}", "no “extends”"),
        ("{% url 'admin:index' %}", "no “url”"),
        ("{% now 'Y' %}", "no “now”"),
        ("{% filter upper %}x{% endfilter %}", "no “filter”"),
        ("{% with a=count %}{% endwith %}", "no “with”"),
        ("{% verbatim %}{% endverbatim %}", "no “verbatim”"),
        ("{{ incident.title|safe }}", "There is no filter “safe”"),
        ("{{ incident.title|add:'x' }}", "no filter “add”"),
        ("{{ incident.title|pprint }}", "no filter “pprint”"),
        ("{{ incident.__class__ }}", "underscore"),
        ("{{ _incident }}", "underscore"),
        ("{{ _('text') }}", "translated"),
        ("{{ incident.note|default:_('text') }}", "translated"),
        ("{{ incident.titel }}", "line 1: there is no “incident.titel”"),
        ("a\n\n{{ incident.title|default:incident.nota }}", "line 3: there is no “incident.nota”"),
        ("{% if incidnet.title %}{% endif %}", "there is no “incidnet”"),
        ("{% for i in incidents %}\n{{ i.titel }}{% endfor %}", "line 2: there is no “i.titel”"),
        ("{% for i in incidents %}{% endfor %}{{ i.title }}", "there is no “i”"),
        ("{% for i in count %}{% endfor %}", "“count” is not a list"),
        ("{{ incident.title.upper }}", "there is no “incident.title.upper”"),
        ("{{ incident.items }}", "there is no “incident.items”"),
        ("{{ incidents.append }}", "there is no “incidents.append”"),
        ("{{ settings.SECRET_KEY }}", "there is no “settings”"),
        ("{{ block.super }}", "there is no “block”"),
        ("{% if count %}x", "“if” has no “endif”"),
        ("{% endfor %}", "no “endfor” here"),
        ("{% for i on incidents %}{% endfor %}", "Write “for name in list”"),
        ("{% for a, b in incident.labels %}{% endfor %}", "Write “for name in list”"),
        ("{% for i in incidents|upper %}{% endfor %}", "Write “for name in list”"),
        ("{{ }}", "Empty variable"),
        ("{{ incident.title | }}", "Could not parse"),
        ("{{ incident.title|truncate }}", "requires 2 arguments"),
        ("{% if %}{% endif %}", "line 1"),
        ("x" * 4001, "4001 characters, more than 4000"),
    ],
)  # fmt: skip
def test_text_that_is_broken_is_told_with_its_line_and_not_sent(source: str, said: str) -> None:
    complaints = check("", source)
    assert said in complaints[0]
    assert complaints[0].startswith("body")
    with pytest.raises(BrokenText) as broken:
        body(source)
    assert said in broken.value.reason


def test_check_tells_all_unknown_names_of_both_texts() -> None:
    assert check("{{ a }}", "{{ b }}\n{{ c }}") == [
        "title, line 1: there is no “a”",
        "body, line 1: there is no “b”",
        "body, line 2: there is no “c”",
    ]
    assert check("", " {{ incident.labels.nothing }}") == ["The text says nothing."]


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in incidents %}{% for b in incidents %}{% endfor %}{% endfor %}",
        "{% for a in incidents %}{% for b in incidents %}{{ b.note }}{% endfor %}{% endfor %}",
        "{% for a in incidents %}{% for b in incidents %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}",
        "{% for a in incidents %}" + "{{ a.note" + "|upper" * 600 + " }}{% endfor %}",
        "{% for a in incidents %}" + "{{ a.note }}" * 300 + "{% endfor %}",
    ],
)  # fmt: skip
def test_text_that_takes_too_many_steps_is_stopped(source: str) -> None:
    began = time.process_time()
    with pytest.raises(BrokenText, match="too many steps"):
        render("", source, [INCIDENT] * 1000)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% if count %}" * 100 + "{% endif %}" * 100, "inside each other"),
        ("{% for a in incidents %}" * 3 + "{% endfor %}" * 3, "inside each other"),
        ("{% if " + "not " * 950 + "count %}{% endif %}", "inside each other"),
        ("{% if " + "count and " * 390 + "count %}{% endif %}", ""),
    ],
)
def test_text_with_much_inside_each_other_is_refused(source: str, said: str) -> None:
    if said:
        with pytest.raises(BrokenText, match=said):
            body(source)
    else:
        assert body(source) == ""


def test_text_of_any_length_is_cut() -> None:
    long = INCIDENT | {"title": "🩺" * 100_000}
    source = "{% for a in incidents %}{{ a.title }}{% endfor %}" + "{{ incident.title }}" * 150
    began = time.process_time()
    found = render("{{ incident.title }}", source, [long] * 1000)
    assert (len(found.title), len(found.body)) == (TITLE_MAX, BODY_MAX)
    assert found.body.endswith("…")
    assert time.process_time() - began < 2


def test_text_of_a_thousand_incidents_lists_as_many_as_fit() -> None:
    source = "{% for i in incidents %}- {{ i.title }} ({{ i.severity }})\n{% endfor %}"
    found = render("", source, [INCIDENT | {"title": f"number {n} " + "x" * 60} for n in range(1000)]).body
    assert found.startswith("- number 0 ")
    assert len(found) <= BODY_MAX


def test_text_that_is_full_ends_before_it_takes_too_many_steps() -> None:
    source = "{% for i in incidents %}" + "{{ i.title }}" * 30 + "{% endfor %}"
    assert len(render("", source, [INCIDENT] * 1000).body) == BODY_MAX


def test_text_reaches_nothing_but_plain_data() -> None:
    class Trap:
        secret = settings.SECRET_KEY

        def __str__(self) -> str:
            raise AssertionError("never shown")

        def __call__(self) -> str:
            raise AssertionError("never called")

    trapped = INCIDENT | {"note": Trap(), "labels": {"call": Trap(), "deep": {"a": {"b": {"c": {"d": "x"}}}}}}
    assert (
        body("{{ incident.note }}{{ incident.labels.call }}{{ incident.labels.call.secret }}.", trapped)
        == "."
    )


def test_text_has_no_control_characters() -> None:
    assert body("a\x00b\u202ec\r\n{{ incident.note }}", INCIDENT | {"note": "d\x1be"}) == "abc\nde"


@pytest.mark.parametrize("name", sorted(FILTERS))
@pytest.mark.parametrize(
    "value", [None, "", "x" * 100_000, 7, 1e300, True, [], ["x" * 5000] * 5000, {"a": ["b"]}]
)
def test_filter_of_any_value_stays_bounded(name: str, value: Any) -> None:
    wants = {"default": ("x",), "truncate": ("9" * 5000,), "join": ("y" * 5000,)}.get(name, ())
    assert len(str(FILTERS[name](value, *wants))) <= max(VALUE_MAX, len(str(value)) * (name == "default"))


@given(
    st.lists(
        st.sampled_from(
            ["{{", "}}", "{%", "%}", "if", "elif", "else", "endif", "for", "endfor", "in", "incidents", "incident", ".", "title", "|", "upper", "default:", "join:','", "'a", '"', "7", "1e9", "-1", "and", "not", "==", "(", ")", "_(", "#", "{#", "#}", "__class__", "labels", "0", "\n", "count", "truncate:3", "None", "True", "forloop.counter"]
        ),
        max_size=40,
    ).map(" ".join)
)  # fmt: skip
def test_text_made_of_anything_is_rendered_or_broken_and_nothing_else(source: str) -> None:
    complaints = check("", source)
    try:
        written = render("", source, [INCIDENT])
    except BrokenText:
        assert complaints
    else:
        assert len(written.body) <= BODY_MAX


@given(st.text(max_size=200))
def test_text_without_braces_is_itself_but_for_control_characters(source: str) -> None:
    if "{" not in source and "}" not in source:
        assert set(body(source)) <= set(source) | {" "}


def test_fields_that_texts_may_name_are_named_once() -> None:
    assert len(FIELDS) == len(set(FIELDS))
