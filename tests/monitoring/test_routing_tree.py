from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.routing.matchers import Matcher, Operator, parse
from monitoring.routing.timing import Hours
from monitoring.routing.tree import Leaf, Node, Outcome, Step, explain, group_key, matching

AT = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)  # a Friday
NIGHT = Hours.parse("22:00-06:00", "UTC")


def node(name: str, matchers: str = "", *children: Node, **changes: object) -> Node:
    numbers: dict[str, object] = {"id": sum(map(ord, name)), "name": name}
    return Node(**numbers | {"matchers": tuple(parse(matchers)), "children": children} | changes)  # type: ignore[arg-type]


def names(root: Node, labels: Mapping[str, str], at: datetime = AT) -> list[str]:
    return [leaf.name for leaf in matching(root, labels, at)]


# The tree of Alertmanager's own dispatch/route_test.go, in its spirit: deep, with and without continue.
TREE = node(
    "root",
    "",
    node(
        "A",
        'owner="team-A"',
        node("testing", 'env="testing"', group_by=()),
        node("production", 'env="production"', group_wait=timedelta(minutes=1), is_continuing=True),
        node("production-b", 'env=~"produ.*"'),
        node("all", 'env="all"', group_by=("...",)),
    ),
    node("B or C", 'owner=~"team-(B|C)"'),
    node(
        "groups", 'group_by="role"', node("nested", 'env="testing"'), group_by=("role",), is_continuing=True
    ),
    node("last", 'group_by="role"'),
    channels=(1,),
)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, ["root"]),
        ({"owner": "team-X"}, ["root"]),
        ({"owner": "team-A"}, ["A"]),
        ({"owner": "team-A", "env": "unset"}, ["A"]),
        ({"owner": "team-A", "env": "testing"}, ["testing"]),
        ({"owner": "team-A", "env": "production"}, ["production", "production-b"]),
        ({"owner": "team-A", "env": "produce"}, ["production-b"]),
        ({"owner": "team-A", "env": "all"}, ["all"]),
        ({"owner": "team-B", "group_by": "role"}, ["B or C"]),
        ({"group_by": "role"}, ["groups", "last"]),
        ({"group_by": "role", "env": "testing"}, ["nested", "last"]),
    ],
)
def test_tree_takes_labels_as_alertmanager_does(labels: dict[str, str], expected: list[str]) -> None:
    assert names(TREE, labels) == expected


def test_root_takes_everything_whatever_its_matchers_and_hours() -> None:
    root = node("root", "a=b", hours=NIGHT)
    assert names(root, {"a": "c"}) == ["root"]
    assert matching(root, {}, AT)[0].opens_at(AT) == AT.replace(hour=22)


def test_leaf_takes_what_it_leaves_open_from_the_route_above() -> None:
    step = Step(timedelta(minutes=10), (9,))
    root = node(
        "root",
        "",
        node(
            "middle",
            "",
            node("deep", "", group_by=()),
            node("never"),
            repeat_interval=timedelta(0),
            steps=(step,),
        ),
        channels=(1, 2),
        group_by=("model",),
        group_wait=timedelta(seconds=5),
        digest="daily",
    )
    [leaf] = matching(root, {}, AT)
    assert (leaf.name, leaf.channels, leaf.group_by, leaf.steps) == ("deep", (1, 2), (), (step,))
    assert (leaf.group_wait, leaf.group_interval) == (timedelta(seconds=5), timedelta(minutes=5))
    assert leaf.repeat_interval == timedelta(0)
    assert leaf.digest == ""
    [bare] = matching(node("root"), {}, AT)
    assert (bare.group_wait, bare.group_interval) == (timedelta(seconds=30), timedelta(minutes=5))
    assert (bare.repeat_interval, bare.channels) == (timedelta(hours=3), ())


def test_route_that_tells_nobody_takes_it_and_has_no_channel() -> None:
    root = node(
        "root", "", node("null", "a=b", tells_nobody=True), channels=(1,), steps=(Step(timedelta(), (2,)),)
    )
    [leaf] = matching(root, {"a": "b"}, AT)
    assert (leaf.name, leaf.channels, leaf.steps) == ("null", (), ())


def test_route_outside_its_hours_is_skipped_or_waits() -> None:
    day, night = (
        node("day", outside="wait", hours=Hours.parse("mon-fri 09:00-17:00", "UTC")),
        node("night", hours=NIGHT),
    )
    root = node("root", "", night, day)
    assert names(root, {}, AT.replace(hour=23)) == ["night"]
    assert names(root, {}) == ["day"]
    [leaf] = matching(root, {}, AT.replace(hour=18))
    assert (leaf.name, leaf.opens_at(AT.replace(hour=18))) == ("day", datetime(2026, 8, 24, 9, tzinfo=UTC))


def test_path_says_why_each_matcher_took_the_labels() -> None:
    [leaf] = matching(TREE, {"owner": "team-A", "env": "testing"}, AT)
    assert [hop.name for hop in leaf.path] == ["root", "A", "testing"]
    assert leaf.path[1].reasons == ('“owner” is “team-A”, which fits owner="team-A"',)


def test_explain_says_what_every_route_did() -> None:
    found = {one.name: one for one in explain(TREE, {"owner": "team-A", "env": "testing"}, AT)}
    assert {name: one.outcome for name, one in found.items()} == {
        "root": Outcome.PASSED_ON,
        "A": Outcome.PASSED_ON,
        "testing": Outcome.TOOK,
        "production": Outcome.NOT_ASKED,
        "production-b": Outcome.NOT_ASKED,
        "all": Outcome.NOT_ASKED,
        "B or C": Outcome.NOT_ASKED,
        "groups": Outcome.NOT_ASKED,
        "nested": Outcome.NOT_ASKED,
        "last": Outcome.NOT_ASKED,
    }
    assert found["production"].because == "“testing” took it before and does not continue"
    assert found["nested"].because == "“groups” above it was not asked or did not take it"


def test_explain_names_the_matcher_that_refused() -> None:
    found = {one.name: one for one in explain(TREE, {"owner": "team-X"}, AT)}
    assert found["A"].outcome is Outcome.REFUSED
    assert found["A"].refused_by == Matcher("owner", Operator.EQUAL, "team-A")
    assert found["A"].because == '“owner” is “team-X”, which does not fit owner="team-A"'
    assert found["groups"].because == 'there is no label “group_by”, which does not fit group_by="role"'


def test_explain_tells_hours_apart_from_matchers() -> None:
    verdict = explain(node("root", "", node("night", hours=NIGHT)), {}, AT)[1]
    assert verdict.outcome is Outcome.OUTSIDE_HOURS
    assert "22:00-06:00 (UTC)" in verdict.because


def test_group_key_is_the_same_for_what_agrees_in_the_labels_grouped_by() -> None:
    def key(group_by: tuple[str, ...], **labels: str) -> str:
        [leaf] = matching(node("r", group_by=group_by), labels, AT)
        return group_key(leaf, labels)

    assert key(("model", "env"), env="p", model="m", x="1") == key(
        ("env", "model"), model="m", x="2", env="p"
    )
    assert key(("model",), model="m") == '114:{"model":"m"}'
    assert key(("model",), model="m") != key(("model",), model="n")
    assert key((), model="m") == key((), model="n") == "114:{}"
    assert key(("...",), a="1", b="2") != key(("...",), a="1", b="3")
    assert key(("model",)) == key(("model",), model="") == "114:{}"


def slow_reference(root: Node, labels: Mapping[str, str]) -> list[int]:
    """Alertmanager's Route.Match, written down once more with explicit steps."""
    taken: list[int] = []
    is_stopped = False
    for child in root.children:
        if is_stopped or not all(labels.get(one.name, "") == one.value for one in child.matchers):
            continue
        taken.extend(slow_reference(child, labels))
        is_stopped = not child.is_continuing
    return taken if taken else [root.id]


numbers = count(1)
some_matchers = st.lists(st.sampled_from(parse("a=x, a=y, b=x, c=")), max_size=2)


def with_children(children: st.SearchStrategy[list[Node]]) -> st.SearchStrategy[Node]:
    return st.builds(
        lambda matchers, is_continuing, below: Node(
            id=next(numbers),
            name=f"n{next(numbers)}",
            matchers=tuple(matchers),
            is_continuing=is_continuing,
            children=tuple(below),
        ),
        some_matchers,
        st.booleans(),
        children,
    )


trees = st.recursive(
    with_children(st.just([])), lambda inner: with_children(st.lists(inner, max_size=4)), max_leaves=12
)
label_sets = st.fixed_dictionaries({}, optional={name: st.sampled_from("xy") for name in "abc"})


@given(trees, label_sets)
def test_matching_equals_a_slow_reference_and_explain_agrees(root: Node, labels: dict[str, str]) -> None:
    found: list[Leaf] = matching(root, labels, AT)
    assert [leaf.id for leaf in found] == slow_reference(root, labels)
    took = [one.id for one in explain(root, labels, AT) if one.outcome is Outcome.TOOK]
    assert took == [leaf.id for leaf in found]
