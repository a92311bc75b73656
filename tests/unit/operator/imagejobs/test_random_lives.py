"""Whatever happens to an ImageJob, in whatever order: nothing is written twice, nothing goes backwards, and it comes to an end."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from imagejob_api.pod import PodProgress, RunnerExit
from imagejob_operator.kubernetes.kinds import IMAGE_JOB
from tests.unit.operator.imagejobs.builders import image_job, images, planned, summary
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster, FakeOperator, KilledError
from tests.unit.operator.imagejobs.test_lives import is_work, status_of

Json = dict[str, Any]
SHARDS = 5

HAPPENINGS = st.one_of(
    st.just("start"),
    st.just("jobs"),
    st.just("look"),
    st.just("restart"),
    st.tuples(st.just("report"), st.integers(0, 9), st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from([0, 0, 0, RunnerExit.CRASHED, RunnerExit.STOPPED])),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("parallelism"), st.integers(1, 6)),
    st.tuples(st.just("memory"), st.integers(1, 3)),
    st.tuples(st.just("kill"), st.integers(1, 3)),
)
JOBS = st.fixed_dictionaries({}, optional={"source": st.just({"prefix": {"url": "s3://photos"}})})


class Life:
    """A job, what happens to it, and what must hold after everything that does."""

    def __init__(self, spec: Json) -> None:
        self.cluster = FakeCluster()
        self.operator = FakeOperator(self.cluster)
        self.cluster.create(IMAGE_JOB, image_job(**spec))
        self.done = 0
        self.finished: Json | None = None

    async def happen(self, what: Any) -> None:  # noqa: ANN401  a name, or a tuple of a name and arguments
        name, *arguments = (what,) if isinstance(what, str) else what
        try:
            getattr(self, f"_{name}")(*arguments)
            await self.operator.look_again()
        except KilledError:
            self.operator = FakeOperator(self.cluster)
            await self.operator.look_again()
        finally:
            self.cluster.kill_after = None
        self.check()

    def check(self) -> None:
        status = status_of(self.cluster)
        counts = status.get("images", {})
        done = sum(value for key, value in counts.items() if key != "total")
        assert done >= self.done, "rows were taken back"
        assert done <= counts.get("total", 0)
        self.done = done
        kinds = {each["type"]: each["status"] for each in status["conditions"]}
        assert ("Complete" in kinds) + ("Failed" in kinds) == (kinds["Finished"] == "True")
        if self.finished is not None:
            assert status["conditions"] == self.finished["conditions"], "an end is for good"
        if kinds["Finished"] == "True":
            self.finished = status
            assert not [pod for pod in self.cluster.matching("pods") if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    async def check_quiet(self) -> None:
        """What has not changed is not written again, by this operator or another."""
        self.cluster.pass_time(11)
        await self.operator.look_again()
        self.cluster.writes.clear()
        self.cluster.pass_time(1)
        await self.operator.look_again()
        await FakeOperator(self.cluster).look_again()
        assert self.cluster.writes == []

    async def finish(self) -> None:
        """Left alone, the job comes to its end."""
        self.cluster.change_spec("flowers", suspend=False)
        for _ in range(40):
            self.cluster.run_jobs()
            self.cluster.start_pods()
            for pod in self.cluster.running_pods:
                self._end_one(pod, 0)
            self.cluster.pass_time(6)
            await self.operator.look_again()
            self.check()
            if self.finished is not None:
                return
        raise AssertionError(f"no end: {status_of(self.cluster)}")

    def _start(self) -> None:
        self.cluster.start_pods()

    def _jobs(self) -> None:
        self.cluster.run_jobs()

    def _look(self) -> None:
        """Nothing but a look."""

    def _restart(self) -> None:
        self.operator = FakeOperator(self.cluster)

    def _report(self, which: int, succeeded: int, failed: int) -> None:
        running = [pod for pod in self.cluster.running_pods if is_work(pod)]
        if running and succeeded + failed <= 2:
            self.cluster.report(running[which % len(running)], PodProgress(images=images(succeeded, failed)))

    def _end(self, which: int, code: int) -> None:
        running = self.cluster.running_pods
        if running:
            self._end_one(running[which % len(running)], code)

    def _end_one(self, pod: Json, code: int) -> None:
        ended = {
            each["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
            for each in self.cluster.matching("pods")
            if is_work(each) and each["status"]["phase"] == "Succeeded"
        }
        if code != 0:
            self.cluster.end_pod(pod, code)
        elif not is_work(pod):
            self.cluster.end_pod(pod, 0, planned(10, SHARDS))
        else:
            self.cluster.end_pod(pod, 0, summary(10) if len(ended) == SHARDS - 1 else None)

    def _wait(self, seconds: int) -> None:
        self.cluster.pass_time(seconds)

    def _suspend(self, suspend: bool) -> None:  # noqa: FBT001  as in the spec
        self._change(suspend=suspend)

    def _parallelism(self, pods: int) -> None:
        self._change(parallelism=pods)

    def _memory(self, gibibytes: int) -> None:
        self._change(template={"resources": {"limits": {"memory": f"{gibibytes}Gi"}}})

    def _change(self, **fields: object) -> None:
        job = self.cluster.get("imagejobs", "flowers")
        assert job is not None
        if any(job["spec"].get(key) != value for key, value in fields.items()):
            self.cluster.change_spec("flowers", **fields)

    def _kill(self, writes: int) -> None:
        self.cluster.kill_after = len(self.cluster.writes) + writes


@settings(max_examples=60, deadline=None)
@given(spec=JOBS, happenings=st.lists(HAPPENINGS, max_size=25))
def test_a_life_of_surprises(spec: Json, happenings: list[Any]) -> None:
    async def whole() -> None:
        life = Life(spec)
        await life.happen("look")
        for what in happenings:
            await life.happen(what)
        await life.check_quiet()
        await life.finish()
        await life.check_quiet()

    asyncio.run(whole())
