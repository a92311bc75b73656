"""What a pod has died of, and in which words: from its container's end, its own last words, or the kubelet's."""

import re
import signal
from typing import Final

from imagejob_api.pod import RunnerExit
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.pod_view import PodView

_REASONS: Final = {
    RunnerExit.INVALID_JOB: Reason.INVALID_JOB,
    RunnerExit.INVALID_SOURCE: Reason.INVALID_SOURCE,
    RunnerExit.MODEL_REFUSED: Reason.MODEL_REFUSED,
    RunnerExit.OUTPUT_REFUSED: Reason.OUTPUT_REFUSED,
    RunnerExit.STORAGE_REFUSED: Reason.STORAGE_REFUSED,
    RunnerExit.STORAGE: Reason.STORAGE_UNREACHABLE,
    RunnerExit.DEVICE: Reason.DEVICE_FAILED,
}
_PERMANENT: Final = {reason for code, reason in _REASONS.items() if code.permanent}
_OUT_OF_MEMORY: Final = "OOMKilled"
_EVICTED: Final = "Evicted"
_NOT_STARTED: Final = ("StartError", "ContainerCannotRun")
"""The kubelet's words for a container whose process could not be started."""
_NO_RUNNER: Final = re.compile(r"imagejob-runner.*(executable file not found|no such file or directory)", re.DOTALL)
_SIGNALLED: Final = 128
_NATIVE: Final = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}


def reason_of(pod: PodView) -> Reason:
    """What a pod that has failed died of."""
    if pod.exit_reason == _OUT_OF_MEMORY:
        return Reason.OUT_OF_MEMORY
    if was_evicted(pod):
        return Reason.EVICTED
    if pod.exit_reason in _NOT_STARTED:
        return Reason.CONTAINER_START_FAILED
    try:
        return _REASONS.get(RunnerExit(pod.exit_code), Reason.CRASHED) if pod.exit_code is not None else Reason.CRASHED
    except ValueError:
        return Reason.CRASHED


def reason_in(text: str) -> Reason:
    """The reason in a Job's message such as "... failed with exit code 12 matching FailJob rule at index 2", if its pods are gone."""
    for code in RunnerExit:
        if code.permanent and f"exit code {int(code)} " in text:
            return _REASONS[code]
    return Reason.CRASHED


def is_permanent(reason: Reason) -> bool:
    """Whether an exit code has ended the whole Job for this reason: no other attempt can help."""
    return reason in _PERMANENT


def was_evicted(pod: PodView) -> bool:
    """Whether its kubelet needed the room."""
    return pod.status_reason == _EVICTED


def lacks_runner(pod: PodView) -> bool:
    """Whether its image has no `imagejob-runner`, so that no pod of this image will ever start."""
    return pod.exit_reason in _NOT_STARTED and _NO_RUNNER.search(pod.last_words) is not None


def words_of(pod: PodView) -> str:
    """What a failed pod died of, where, and what to do: one or two sentences."""
    place = f" (pod {pod.name} on {pod.node})" if pod.node else f" (pod {pod.name})"
    if pod.result is not None and pod.result.error is not None:
        return _sentence(f"{pod.result.error.message}{place}")
    if reason_of(pod) is Reason.OUT_OF_MEMORY:
        return f"The container was killed because it used more memory than it may{place}. Give template.resources.limits.memory more."
    if lacks_runner(pod):
        return (
            f"The image {pod.image} has no imagejob-runner{place}. Build one from the runner's image (docs/install.md), and name it in "
            f"template.image. The kubelet says: {_sentence(pod.last_words)}"
        )
    if pod.exit_reason in _NOT_STARTED:
        return f"The container did not start{place}. The kubelet says: {_sentence(pod.last_words or pod.exit_reason)}"
    if was_evicted(pod):
        return f"The node needed the pod's room: Evicted{place}. {_sentence(pod.last_words)}".rstrip()
    return f"{_end_of_container(pod)}{place}. kubectl logs {pod.name} may say more."


def _end_of_container(pod: PodView) -> str:
    code = pod.exit_code
    if code is None:
        why = ": ".join(filter(None, (pod.status_reason, pod.last_words.rstrip("."))))
        return f"The pod failed: {why}" if why else "The pod failed"
    why = f": {pod.exit_reason}" if pod.exit_reason else ""
    try:
        number = signal.Signals(code - _SIGNALLED)
    except ValueError:
        return f"The container ended with exit code {code}{why}"
    native = ", a crash in native code, such as of a library that a step's function uses" if number in _NATIVE else ""
    return f"The container was ended by {number.name}{native}: exit code {code}"


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
