import io
import json

import pytest
from rich.console import Console

from imagejob_cli.cluster.as_json import snapshot_object
from imagejob_cli.cluster.board import Snapshot
from imagejob_cli.cluster.follow import verdict
from imagejob_cli.cluster.screens import JsonScreen, LiveScreen, PlainScreen, plain_line, screen_for
from imagejob_cli.cluster.slots import NodeSlots, share_of
from imagejob_cli.cluster.view import SnapshotView, slots_lines
from tests.unit.cli.cluster.views import condition, finished, job, running, slots, snapshot

DEMO = ("team/demo-0-x7k2p", "team/demo-11-abcde")


def console(width: int = 80, *, terminal: bool = True) -> Console:
    return Console(width=width, file=io.StringIO(), force_terminal=terminal, color_system=None)


def printed(to: Console) -> list[str]:
    assert isinstance(to.file, io.StringIO)
    return [line.rstrip() for line in to.file.getvalue().splitlines()]


def rendered(moment: Snapshot, width: int = 80) -> list[str]:
    to = console(width)
    to.print(SnapshotView(moment, full_names=False))
    return printed(to)


def test_80_columns() -> None:
    moment = snapshot(
        job("next", condition("Stalled", "Unschedulable", "0/3 nodes are available"), phase="Pending"),
        running(),
        slots=(slots(holders=(DEMO[0], "other/x"), queue=("other/y", DEMO[1])), slots("worker-2")),
    )
    lines = rendered(moment)
    assert lines[0].startswith("next ")
    assert lines[0].endswith(" …")
    assert lines[1:3] == ["state  Pending", "why    Unschedulable: 0/3 nodes are available"]
    assert lines[3].startswith("demo ")
    assert "━" in lines[3]
    assert lines[3].endswith(" 812/1,000")
    assert lines[4:7] == [
        "state   Running, 81%, 97 images/s, 0:12 left, 2:10 elapsed, 4 pods, 3 waiting",
        "        for a slot, 1 skipped",
        "failed  7",
    ]
    assert lines[8:] == [
        "gpu on worker-1  2/2 held, 2 waiting (demo holds 1, is next at place 2)",
        "gpu on worker-2  0/2 held, 0 waiting",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    moment = snapshot(running("a-name-that-is-far-longer-than-forty-columns"), slots=(slots("n" * 50),), note="not all are shown " * 5)
    assert max(map(len, rendered(moment, width))) <= width


def test_without_jobs() -> None:
    assert rendered(snapshot()) == ["No ImageJobs."]


def test_the_jobs_own_nodes_come_first_and_the_rest_is_counted() -> None:
    others = tuple(slots(f"node-{number:02}") for number in range(30))
    lines = list(slots_lines(snapshot(running(), slots=(*others, slots("zoo", holders=DEMO[:1])))))
    assert lines[0] == ("gpu on zoo", "1/2 held, 0 waiting (demo holds 1)")
    assert lines[-1] == ("", "and 11 more")


def test_pods_of_a_job_are_not_those_of_one_with_a_longer_name() -> None:
    state = slots(holders=("team/demo-2-0-x7k2p", "elsewhere/demo-0-x7k2p"), queue=DEMO).state
    assert state is not None
    assert share_of(state, "team", "demo").held == 0
    assert share_of(state, "team", "demo").places == (1, 2)
    assert share_of(state, "team", "demo-2").held == 1


def test_a_lease_that_cannot_be_read() -> None:
    broken = NodeSlots.of({"metadata": {"labels": {"imagejob.dev/limit": "gpu", "imagejob.dev/node": "n"}, "resourceVersion": "1"}})
    assert broken.state is None
    assert list(slots_lines(snapshot(slots=(broken,)))) == [
        ("gpu on n", "the Lease cannot be read: metadata.annotations must be an object, and is None")
    ]


def test_plain_lines_come_with_news_at_most_every_five_seconds() -> None:
    now = 0.0
    to = console(terminal=False)
    screen = PlainScreen(to, full_names=True, clock=lambda: now)
    screen.draw(snapshot(running()))
    screen.draw(snapshot(running()))
    screen.draw(snapshot(running(images={"total": 1000, "succeeded": 900})))
    assert len(printed(to)) == 1
    now = 5.0
    screen.draw(snapshot(running(images={"total": 1000, "succeeded": 901})))
    screen.draw(snapshot(finished("Failed", condition("Failed", "Crashed"))))
    assert [line.split(",")[0] for line in printed(to)] == ["team/demo: 812/1", "team/demo: 901/1", "team/demo: 1"]


def test_plain_lines_say_once_what_is_not_there() -> None:
    to = console(terminal=False)
    screen = PlainScreen(to, full_names=True)
    for _ in range(2):
        screen.draw(snapshot(note="slots are not shown: ada may not"))
    screen.draw(snapshot(running(), note="slots are not shown: ada may not"))
    assert printed(to)[:2] == ["No ImageJobs.", "slots: slots are not shown: ada may not"]
    assert [line.partition(":")[0] for line in printed(to)[2:]] == ["team/demo"]


def test_beside_json_it_is_said_once_why_slots_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    messages = console(terminal=False)
    screen = JsonScreen(messages)
    screen.draw(snapshot(running(), note="slots are not shown: ada may not"))
    screen.draw(snapshot(finished("Succeeded"), note="slots are not shown: ada may not"))
    assert printed(messages) == ["note: slots are not shown: ada may not"]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_json_lines_come_with_news_alone(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonScreen(console())
    screen.draw(snapshot(running()))
    screen.draw(snapshot(running()))
    screen.draw(snapshot(running(), slots=(slots(),)))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["slots"] == []
    assert second["slots"][0]["node"] == "worker-1"


def test_the_screen_fits_where_it_prints() -> None:
    messages = console()
    assert isinstance(screen_for(console(), messages, full_names=False, as_json=False), LiveScreen)
    assert isinstance(screen_for(console(terminal=False), messages, full_names=False, as_json=False), PlainScreen)
    assert isinstance(screen_for(console(), messages, full_names=False, as_json=True), JsonScreen)


def test_a_live_screen_draws_in_place_and_leaves_the_last_drawing() -> None:
    to = console()
    with LiveScreen(to, full_names=False) as screen:
        screen.draw(snapshot(running()))
        screen.note("The cluster answers again.")
        screen.draw(snapshot(finished("Succeeded", phase="Succeeded")))
    text = "\n".join(printed(to))
    assert text.index("812/1,000") < text.index("The cluster answers again.") < text.index("Succeeded, 100%")


def test_deleted_jobs_are_marked() -> None:
    moment = snapshot(running(), missing=frozenset({"demo"}))
    assert ", deleted" in " ".join(" ".join(rendered(moment)).split())
    assert snapshot_object(moment)["jobs"][0]["deleted"] is True


def test_the_verdict_waits_for_all_named_jobs() -> None:
    assert verdict(snapshot(finished("Succeeded")), []) is None
    assert verdict(snapshot(finished("Succeeded", name="a"), running("b")), ["a", "b"]) is None
    assert verdict(snapshot(finished("Succeeded", name="a"), finished("PartiallySucceeded", name="b")), ["a", "b"]) == 5
    assert verdict(snapshot(running(), missing=frozenset({"demo"})), ["demo"]) == 4
    assert verdict(snapshot(finished("Succeeded"), missing=frozenset({"demo"})), ["demo"]) == 0


def test_what_limits_a_job_is_told_while_it_runs() -> None:
    says = "decoding on 4 CPUs limits this job: give it more CPUs"
    moment = snapshot(running(bottleneck=says))
    assert f"bottleneck  {says}" in rendered(moment)
    assert plain_line(moment.jobs[0], moment, full_names=False).endswith(f"; {says}")
    assert snapshot_object(moment)["jobs"][0]["bottleneck"] == says
    assert not any(says in line for line in rendered(snapshot(finished("Succeeded", bottleneck=says))))
