import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagejob_api.base import DURATION_PATTERN
from imagejob_operator.limits.facts import Goal, InvalidLimitError, goal_of, gpu_devices, read_limit, read_node
from nodelease.bounds import Bounds
from nodelease.codec import decode, encode
from nodelease.state import LeaseState
from tests.unit.operator.limits.objects import BOUNDS, node, node_limit

COUNT, REPLICAS = "nvidia.com/gpu.count", "nvidia.com/gpu.replicas"


@pytest.mark.parametrize(
    ("labels", "allocatable", "devices"),
    [
        pytest.param({}, {}, 1, id="no GPU: the CPU is the device"),
        pytest.param({}, {"nvidia.com/gpu": "0"}, 1, id="the device plugin is starting"),
        pytest.param({}, {"nvidia.com/gpu": "4"}, 4, id="four GPUs"),
        pytest.param({COUNT: "2"}, {"nvidia.com/gpu": "2"}, 2, id="counted"),
        pytest.param({COUNT: "2", REPLICAS: "10"}, {"nvidia.com/gpu": "20"}, 2, id="counted, time-sliced"),
        pytest.param({REPLICAS: "10"}, {"nvidia.com/gpu": "20"}, 2, id="time-sliced"),
        pytest.param({REPLICAS: "10"}, {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "40"}, 4, id="time-sliced and renamed"),
        pytest.param({REPLICAS: "10"}, {"nvidia.com/gpu": "5"}, 1, id="replicas of less than a GPU"),
        pytest.param({REPLICAS: "0"}, {"nvidia.com/gpu": "3"}, 3, id="no replicas"),
        pytest.param({COUNT: "many", REPLICAS: "-1"}, {"nvidia.com/gpu": "3"}, 3, id="labels that are no numbers"),
        pytest.param({COUNT: "0"}, {}, 1, id="counted none"),
        pytest.param({COUNT: "9" * 5000}, {}, 1, id="a number that nobody can read"),
        pytest.param({}, {"nvidia.com/gpu": "1k"}, 1, id="not a plain quantity"),
    ],
)
def test_devices(labels: dict[str, str], allocatable: dict[str, str], devices: int) -> None:
    assert gpu_devices(labels, allocatable) == devices


@pytest.mark.parametrize(
    ("spec", "goal"),
    [
        ({"slots": 3}, Goal(3, True, 30, BOUNDS)),
        ({"slots": 0}, Goal(0, True, 30, BOUNDS)),
        ({"slotsPerDevice": 2}, Goal(8, True, 30, BOUNDS)),
        ({"slotsPerDevice": 2, "overrides": [{"node": "node-1", "slots": 5}]}, Goal(5, True, 30, BOUNDS)),
        ({"slots": 2, "overrides": [{"node": "node-1", "slots": 0}, {"node": "node-2", "slots": 9}]}, Goal(0, True, 30, BOUNDS)),
        ({"slots": 2, "active": False, "leaseDurationSeconds": 60}, Goal(2, False, 60, BOUNDS)),
        ({"slots": 2, "maxHold": "1m30s", "maxPriority": -5}, Goal(2, True, 30, Bounds(90.0, -5))),
        ({"slots": 2, "nodeSelector": {"zone": "a"}}, Goal(2, True, 30, BOUNDS)),
        ({"slots": 2, "nodeSelector": {"zone": "b"}}, None),
        ({"slots": 2, "nodeSelector": {"zone": "a", "gpu": ""}}, None),
    ],
)
def test_goals(spec: dict[str, object], goal: Goal | None) -> None:
    assert goal_of(read_limit(node_limit(**spec)), read_node(node(labels={"zone": "a"}, gpus=4))) == goal


def test_slots_stay_in_the_schemas_bounds() -> None:
    facts = read_node(node(labels={COUNT: "999999"}))
    goal = goal_of(read_limit(node_limit(slotsPerDevice=64)), facts)
    assert goal is not None
    assert goal.slots == 1024


def test_a_node_whose_name_is_no_label_has_no_limits() -> None:
    assert goal_of(read_limit(node_limit(slots=1)), read_node(node("n" * 64))) is None


def test_a_limit_that_another_version_wrote() -> None:
    with pytest.raises(InvalidLimitError, match="slotsPerMoon"):
        read_limit(node_limit(slots=1, slotsPerMoon=2))


def test_what_does_not_matter_of_a_node_makes_no_difference() -> None:
    one, other = node(gpus=2), node(gpus=2)
    other["metadata"]["resourceVersion"] = "9"
    other["status"]["conditions"] = [{"type": "Ready", "lastHeartbeatTime": "now"}]
    assert read_node(one) == read_node(other)


@given(st.from_regex(re.compile(DURATION_PATTERN, re.ASCII), fullmatch=True).filter(lambda text: not text.endswith("\n")))
@example("1s700ms")
def test_a_lease_says_each_bound_as_the_limit_does(hold: str) -> None:
    limit = read_limit(node_limit(slots=1, maxHold=hold))
    goal = goal_of(limit, read_node(node()))
    assert goal is not None
    state = decode(encode(LeaseState(goal.slots, goal.duration_seconds, goal.active, bounds=goal.bounds)))
    assert state.bounds == goal.bounds, "or it would be written again for ever"
