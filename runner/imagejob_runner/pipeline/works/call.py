"""The `call` step: the user's own function."""

import asyncio
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from imagejob_api.pipeline import Call
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, RunnerError, SkipImage
from imagejob_runner.functions import find_callable
from imagejob_runner.item import ImageItem
from imagejob_runner.output import check_json
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.works.base import PlainWork, in_thread


class CallWork(PlainWork):
    """Calls the user's function.

    A sync function runs in a thread and cannot be interrupted: at its timeout the image fails, and the worker (with its slot) goes on
    only when the function has returned.
    """

    def __init__(self, name: str, call: Call, *, concurrency: int) -> None:
        self._name, self._call = name, call
        self._function = find_callable(call.function, "call.function")
        self._is_async = inspect.iscoroutinefunction(self._function)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"call-{name}")

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, flight: Flight) -> None:
        """Calls the function and stores what it returns under the step's name. What a failed call has written is taken back."""
        item, before = flight.item, dict(flight.item.outputs)
        try:
            answer = await self._called(item)
            if answer is not None:
                item.outputs[self._name] = answer
            # The function may have written into the outputs by itself, too.
            check_json(item.outputs, f"what {self._call.function} returned: outputs")
        except BaseException:
            item.outputs = before if _is_json(before) else {}
            raise
        if answer is not None:
            # Of its own: a function may return the same object for each image, and change it.
            item.outputs[self._name] = json.loads(json.dumps(answer))

    async def _called(self, item: ImageItem) -> Any:  # noqa: ANN401  whatever the user's function returns
        try:
            if self._is_async:
                answer = self._function(item, **self._call.arguments)
            else:
                answer = await in_thread(self._threads, self._in_thread, item)
            return await answer if inspect.isawaitable(answer) else answer
        except (ImageError, SkipImage, RunnerError):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody has cancelled this worker: something that the function waited for was.
            raise self._failure(error) from error
        except (Exception, SystemExit) as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> ImageError:
        return ImageError(ErrorCode.CALL_FAILED, f"{self._call.function}: {type(error).__name__}: {error}", retryable=True)

    def _in_thread(self, item: ImageItem) -> Any:  # noqa: ANN401  whatever the user's function returns
        try:
            return self._function(item, **self._call.arguments)
        except StopIteration as error:
            # A future cannot carry it, and the image would wait for ever.
            raise RuntimeError("StopIteration") from error


def _is_json(value: object) -> bool:
    try:
        check_json(value, "")
    except ImageError:
        return False
    return True
