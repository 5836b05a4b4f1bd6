"""What is deployed is what is tested: the image's start command, the files' form, the alerts' names."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import requests
import yaml

from api.settings import Settings
from tests.harness import ROOT, Api

DEPLOY = ROOT / "deploy"


def _instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def test_the_start_command_of_the_image_serves_and_its_health_check_holds(tmp_path: Path) -> None:
    final = _instructions()
    values = dict(final)
    command = json.loads(values["ENTRYPOINT"]) + json.loads(values["CMD"])
    environment = dict(
        pair.split("=", 1) for pair in shlex.split(values["ENV"]) if not pair.startswith("PATH")
    )
    assert environment["SCRINIA_BIND"].endswith(":8420")
    port = _free_port()
    environment |= {"SCRINIA_BIND": f"127.0.0.1:{port}", "SCRINIA_DATA_DIR": str(tmp_path / "data")}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SCRINIA_")}
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    check = json.loads(values["HEALTHCHECK"].partition("CMD")[2])
    check = [part.replace("8420", str(port)) for part in check]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**clean, **environment, "PATH": path},
                                  cwd=tmp_path, stdout=log, stderr=log)  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(check, capture_output=True, env={**clean, "PATH": path}).returncode:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    finally:
        server.send_signal(getattr(signal, values["STOPSIGNAL"]))
        assert server.wait(20) == 0
    assert (values["USER"], values["VOLUME"]) == ("scrinia", environment_dir())


def environment_dir() -> str:
    values = dict(_instructions())
    return dict(p.split("=", 1) for p in shlex.split(values["ENV"]) if "=" in p)["SCRINIA_DATA_DIR"]


def _free_port() -> int:
    from tests.servers import free_port

    return free_port()


def test_the_image_takes_every_room() -> None:
    copied = {arguments.split()[0] for name, arguments in _instructions() if name == "COPY"}
    assert {"domain", "ledger", "projections", "plugins", "api"} <= copied


def test_every_setting_named_in_deploy_is_one() -> None:
    settings = {f"SCRINIA_{name.upper()}" for name in Settings.model_fields}
    for file in [*DEPLOY.rglob("*"), ROOT / "docs" / "operations.md"]:
        if file.is_file():
            assert set(re.findall(r"SCRINIA_[A-Z_]+", file.read_text())) <= settings, file


def test_the_compose_file_is_whole() -> None:
    validate = Path(sys.executable).parent / "check-jsonschema"
    command = [validate, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "nats", "migrate", "api", "balancer"}
    assert services["api"]["deploy"]["replicas"] == 2 and services["api"]["read_only"]
    named = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    kept = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    assert named == kept
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), volume
        for needed in service.get("depends_on", []):
            assert needed in services


def test_the_unit_starts_what_there_is() -> None:
    unit = (DEPLOY / "scrinia.service").read_text()
    start = re.search(r"^ExecStart=/opt/scrinia/bin/scrinia (.+)$", unit, re.MULTILINE)[1]
    from api.cli.main import cli

    name, *options = start.split()
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


async def test_every_metric_in_the_runbook_is_one(api: Api) -> None:
    await api.make_prompt("acme/mail")
    text = (await api.call("GET", "/metrics")).body.decode()
    named = re.findall(r"`(scrinia_[a-z_]+)", (ROOT / "docs" / "operations.md").read_text())
    assert named
    for metric in named:
        assert re.search(rf"^{metric}", text, re.MULTILINE), metric
    counts = dict(
        re.findall(r"^scrinia_command_seconds_(count|sum) ([0-9.]+)$", text, re.MULTILINE)
    )
    assert float(counts["count"]) == 2 and float(counts["sum"]) > 0
