"""The chart renders to what Kubernetes takes, hardened, with nothing secret in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from api.cli.overview import COMMANDS
from api.settings import Settings
from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, SIGN_IN_PURPOSE, WEBHOOK_PURPOSE
from ledger.ids import SystemIds
from ledger.initialising import initialise
from ledger.keyfiles import load_key, load_secret
from api.main import store_of
from tests.harness import ROOT, settings_in
from tests.servers import missing

CHART = ROOT / "deploy" / "helm" / "scrinia"
EVERYTHING = {
    "database.directUrl.secret": "scrinia-direct",
    "nats.url": "nats://nats:4222",
    "nats.credentials.secret": "scrinia-nats",
    "api.autoscaling.enabled": "false",
    "api.processes": "2",
    "ingress.enabled": "true",
    "ingress.className": "nginx",
    "ingress.tlsSecret": "scrinia-tls",
    "settings.SCRINIA_OTLP_URL": "http://collector:4318",
    "networkPolicy.postgres.to[0].podSelector.matchLabels.app": "postgres",
    "imagePullSecrets[0].name": "registry",
}
VERSIONS = ("1.28", "1.30", "1.33")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).parent / "helm"
    found = str(beside) if beside.exists() else shutil.which("helm")
    if found is None:
        missing("no helm: it comes with `make test` on x86_64, install your system's elsewhere")
    environment = {**os.environ, "HELM_CACHE_HOME": "/nonexistent"}
    return subprocess.run([found, *arguments], capture_output=True, text=True, env=environment)


def rendered(values: dict[str, str]) -> list[dict[str, Any]]:
    options = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    done = helm("template", "prompts", str(CHART), "--kube-version", "1.33.0", *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [d["spec"]["template"] for d in documents if d["kind"] in ("Deployment", "Job")]


def containers(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        container
        for pod in pods(documents)
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    ]


@pytest.fixture(params=["default", "everything"])
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(EVERYTHING if request.param == "everything" else {})


def test_helm_finds_nothing_to_say() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(documents: list[dict[str, Any]], version: str) -> None:
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_all_that_is_promised_is_there() -> None:
    kinds = sorted(document["kind"] for document in rendered({}))
    assert kinds == [
        "Deployment", "Deployment", "HorizontalPodAutoscaler", "Job", "NetworkPolicy",
        "NetworkPolicy", "PodDisruptionBudget", "Service",
    ]  # fmt: skip
    assert {"Ingress"} <= {document["kind"] for document in rendered(EVERYTHING)}
    less = rendered({"database.adminUrl.secret": "", "networkPolicy.enabled": "false"})
    assert not {"Job", "NetworkPolicy"} & {document["kind"] for document in less}


def test_every_pod_is_hardened(documents: list[dict[str, Any]]) -> None:
    for pod in pods(documents):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] == 10001  # the image's
        assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers(documents):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_it_starts_what_there_is_with_settings_there_are(documents: list[dict[str, Any]]) -> None:
    known = {f"SCRINIA_{name.upper()}" for name in Settings.model_fields}
    for container in containers(documents):
        if container["name"] != "keys":
            [command] = container["args"]
            assert command in COMMANDS
        named = {variable["name"] for variable in container.get("env", [])}
        assert {name for name in named if name.startswith("SCRINIA_")} <= known
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts <= {v["name"] for pod in pods(documents) for v in pod["spec"]["volumes"]}


def test_urls_come_from_secrets(documents: list[dict[str, Any]]) -> None:
    for container in containers(documents):
        for variable in container.get("env", []):
            secret = variable["name"].endswith("DATABASE_URL") or "DIRECT" in variable["name"]
            assert ("valueFrom" in variable) == secret, variable
    assert not any(document["kind"] == "Secret" for document in documents)


def test_the_policies_reach_the_pods(documents: list[dict[str, Any]]) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(documents)]
    components = {found["app.kubernetes.io/component"] for found in labels}
    policies = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
    api, both = policies
    assert api["podSelector"]["matchLabels"].items() <= labels[0].items()
    [selected] = both["podSelector"]["matchExpressions"]
    assert set(selected["values"]) | {"migrate"} == components
    assert "Egress" in both["policyTypes"] and both["egress"]


def test_what_is_no_value_is_refused() -> None:
    for wrong in (
        "replicaCount=2",
        "database.url.secret=",
        "settings.PATH=/",
        "api.processes=0",
        "settings.SCRINIA_PROCESSES=2",
    ):
        done = helm("template", "prompts", str(CHART), "--set", wrong)
        assert done.returncode != 0 and "values don't meet" in done.stderr, wrong


def test_the_keys_arrive_as_the_server_wants_them(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    made = settings.directory
    initialise(store_of(settings), made, settings.token_file, SystemIds())
    secret, data = tmp_path / "secret", tmp_path / "pod"
    secret.mkdir()
    data.mkdir()
    for file in (*made.key_files, made.trust):
        shutil.copy(file, secret / file.name)
        (secret / file.name).chmod(0o440)
    [container] = [c for c in containers(rendered({})) if c["name"] == "keys"][:1]
    script = container["args"][0].replace("from=/keys to=/data", f"from={secret} to={data}")
    subprocess.run([*container["command"], script], check=True)
    load_key(data / "keys" / "event.key", EVENT_PURPOSE)
    load_key(data / "keys" / "checkpoint.key", CHECKPOINT_PURPOSE)
    load_secret(data / "keys" / "webhook.key", WEBHOOK_PURPOSE)
    load_secret(data / "keys" / "sign-in.key", SIGN_IN_PURPOSE)
    assert (data / "trust.json").read_bytes() == made.trust.read_bytes()
