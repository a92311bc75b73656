"""What a user of `imagejob run` sees of whole runs: several jobs, texts, JSON, a terminal. Signals are in test_signals.py."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

from tests.process.harness import IMAGEJOB, PATIENCE_SECONDS, ROOT, Lab, call, inputs


def counting(log: Path, seconds: float = 0.0) -> list[dict[str, object]]:
    return [call("count", "note", arguments={"log": str(log), "seconds": seconds})]


def lines_of(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_text_for_people(lab: Lab) -> None:
    file = lab.job(counting(lab.folder / "log"), inputs(5), name="flowers")
    done = lab.start("run", "-f", file).wait().expect(0)
    out = done.out.splitlines()
    assert out[0] == "flowers: succeeded"
    assert out[1] == "  images      5 succeeded, 0 failed of 5"
    assert out[2].startswith("  time        5 images in ")
    assert out[-3:] == [
        f"  results     {lab.folder}/flowers",
        f"  next        imagejob show {lab.folder}/flowers",
        f"              imagejob verify {lab.folder}/flowers",
    ]
    assert re.match(r"flowers: planning, 0:\d\d\nflowers: 0/5, 0%, starting, ", done.err)
    again = lab.start("run", "-f", file).wait().expect(0)
    assert re.search(r"^  time        .*; nothing was left to do$", again.out, re.MULTILINE)
    assert len(lines_of(lab.folder / "log")) == 5


def test_json_is_the_last_and_only_line(lab: Lab) -> None:
    file = lab.job([call("count", "note", limit="gpu", hold="99999h", arguments={"log": str(lab.folder / "log")})], inputs(5))
    done = lab.run(file).expect(0)
    assert len(done.out.splitlines()) == 1
    answer = done.answer
    assert answer["phase"] == "Succeeded"
    assert answer["images"] == {"total": 5, "succeeded": 5, "failed": 0, "skipped": 0}
    assert answer["output"] == str(lab.folder / "job")
    assert 0 < answer["elapsedSeconds"] < answer["wallSeconds"]
    assert answer["imagesPerSecond"] > 0
    gpu = answer["limits"]["gpu"]
    assert gpu.keys() >= {"maxHolders", "holds", "heldSeconds", "busySeconds", "waitSeconds", "handOverMs", "writes"}
    assert gpu["maxHolders"] == 1
    assert gpu["handOverMs"].keys() == {"p50", "p99"}
    assert "job: succeeded\n" in done.err
    assert "note: Step count asks to hold gpu for 99999h, and gets 1m: maxHold of the NodeLimit.\n" in done.err


def test_several_jobs_run_in_the_order_of_the_files(lab: Lab) -> None:
    log = lab.folder / "log"
    files = [lab.job(counting(log), inputs(1), name=name) for name in ("second", "first")]
    both = lab.start("run", "-f", files[1], "-f", files[0], "--json").wait().expect(0)
    assert [json.loads(line)["output"] for line in both.out.splitlines()] == [str(lab.folder / "first"), str(lab.folder / "second")]
    one = lab.start("run", "-f", files[1], "-f", files[0], "--json", "--job", "second").wait().expect(0)
    assert len(one.out.splitlines()) == 1


def test_a_job_that_fails_does_not_stop_the_next(lab: Lab) -> None:
    bad = lab.job([call("fail", "no_such_function")], inputs(1), name="bad")
    good = lab.job(counting(lab.folder / "log"), inputs(1), name="good")
    done = lab.start("run", "-f", bad, "-f", good, "--json").wait()
    assert done.code != 0
    assert lab.output("good").succeeded
    assert "no_such_function" in done.err
    assert "Traceback" not in done.err


def test_output_and_parallelism_replace_those_of_the_job(lab: Lab) -> None:
    file = lab.job(counting(lab.folder / "log"), inputs(4), chunkSize=1)
    lab.run(file, "--output", str(lab.folder / "elsewhere"), "--parallelism", "2").expect(0)
    assert len(lab.output("elsewhere").rows()) == 4
    assert {part.name[:10] for part in lab.output("elsewhere").parts()} == {"part-00000", "part-00001"}
    assert not (lab.folder / "job").exists()


def test_another_job_in_the_output_is_refused(lab: Lab) -> None:
    lab.run(lab.job(counting(lab.folder / "log"), inputs(2))).expect(0)
    done = lab.run(lab.job(counting(lab.folder / "log"), inputs(3))).expect(2)
    assert "Error: job: " in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_functions_beside_the_file_are_found(lab: Lab) -> None:
    (lab.folder / "beside.py").write_text("def answer(item):\n    return {'answer': 42}\n")
    file = lab.job([{"name": "ask", "call": {"function": "beside:answer"}}], inputs(2))
    environment = {**os.environ, "IMAGEJOB_RUNTIME_DIR": str(lab.runtime)}
    subprocess.run([IMAGEJOB, "run", "-f", file], cwd=lab.folder, env=environment, check=True, timeout=PATIENCE_SECONDS)
    assert [row["outputs"] for row in lab.output().rows()] == [{"ask": {"answer": 42}}] * 2


def test_on_a_terminal_ctrl_c_reaches_only_the_command(lab: Lab) -> None:
    log = lab.folder / "log"
    file = lab.job(counting(log, seconds=0.02), inputs(200), chunkSize=4)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.environ["IMAGEJOB_RUNTIME_DIR"] = str(lab.runtime)
        os.execv(IMAGEJOB, ["imagejob", "run", "-f", str(file)])  # noqa: S606  the program under test
    seen = b""
    pressed = False
    while True:
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not pressed and lab.output().parts():
            pressed = True
            os.write(terminal, b"\x03")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    text = seen.decode()
    assert "━" in text
    assert "job: suspended" in text
    assert "Traceback" not in text
    assert len(lab.output().rows()) % 4 == 0
