from dataclasses import fields

import pytest

from imagejob_operator.settings import Settings, parse_settings, variable


def test_defaults_need_nothing() -> None:
    assert parse_settings([], {}) == Settings()


def test_a_flag_goes_before_a_variable_and_a_variable_before_the_default() -> None:
    environ = {"IMAGEJOB_OPERATOR_WORKERS": "3", "IMAGEJOB_OPERATOR_NAMESPACE": "from-variable"}
    settings = parse_settings(["--workers", "5"], environ)
    assert (settings.workers, settings.namespace, settings.port) == (5, "from-variable", Settings().port)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("watch_namespaces", "team-a, team-b,", ("team-a", "team-b")),
        ("manage_limits", "false", False),
        ("status_seconds", "2.5", 2.5),
        ("finished_pods_seconds", "86400", 86400),
        ("port", "0", 0),
        ("allowed_modules", "torchvision, team.models", ("torchvision", "team.models")),
        ("runner_image_pull_policy", "Never", "Never"),
        ("log_format", "json", "json"),
    ],
)
def test_variables_are_parsed(name: str, text: str, value: object) -> None:
    assert getattr(parse_settings([], {variable(name): text}), name) == value


def test_an_empty_variable_is_unset() -> None:
    assert parse_settings([], {variable(setting.name): "" for setting in fields(Settings)}) == Settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("workers", "0"),
        ("workers", "many"),
        ("port", "70000"),
        ("status_seconds", "0"),
        ("finished_pods_seconds", "-1"),
        ("status_seconds", "nan"),
        ("heartbeat_seconds", "inf"),
        ("manage_limits", "yes"),
        ("runner_image_pull_policy", "Sometimes"),
        ("log_level", "LOUD"),
        ("allowed_modules", "os:system"),
        ("default_limit", "gpu"),
        ("default_limit", '{"slots": 2}'),
        ("default_limit", '{"name": "gpu", "spec": {"slots": 2, "slotsPerDevice": 1}}'),
    ],
)
def test_what_cannot_be_meant_is_named(name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_settings([], {variable(name): text})
    assert f"IMAGEJOB_OPERATOR_{name.upper()}={text!r}" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        parse_settings([f"--{name.replace('_', '-')}", text], {})
    assert f"--{name.replace('_', '-')}={text!r}" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["60", "61"])
def test_a_heartbeat_comes_before_the_probe_fails(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_settings([], {variable("heartbeat_seconds"): seconds})
    said = capsys.readouterr().err
    assert f"--heartbeat-seconds ({seconds}) must be less than --unhealthy-seconds (60)" in said
    assert "lower the first or raise the second" in said
    assert parse_settings(["--unhealthy-seconds", "90", "--heartbeat-seconds", seconds], {}).unhealthy_seconds == 90


def test_help_names_each_flag_and_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse_settings(["--help"], {})
    text = "".join(capsys.readouterr().out.split())
    for setting in fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in text
        assert variable(setting.name) in text
