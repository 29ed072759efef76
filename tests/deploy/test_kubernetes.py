"""The manifests: what Kubernetes takes, and what fits the server and each other."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ka_twisted.observe.metrics import Metrics
from ka_twisted.server.serving import GRACE
from ka_twisted.service.configuration import files
from ka_twisted.service.configuration.builder import ConfigurationBuilder
from ka_twisted.service.configuration.values import Configuration
from tests import programs

yaml: Any = pytest.importorskip("yaml")

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
NAME = "ka-twisted"
LABELS = {"app.kubernetes.io/name": NAME}
#: Where a pod's sleep and an eviction policy are first in every cluster, and what there is now.
VERSIONS = ("1.34", "1.37")

KUBECTL = programs.find("kubectl")


def documents(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))
    return found


def document(name: str) -> dict[str, Any]:
    [found] = documents(name)
    return found


KUSTOMIZATION = document("kustomization.yaml")
RESOURCES: list[str] = KUSTOMIZATION["resources"]
DEPLOYMENT = document("deployment.yaml")["spec"]
POD: dict[str, Any] = DEPLOYMENT["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """What a pod reads, with a token."""
    from twisted.internet import reactor

    folder = tmp_path_factory.mktemp("pod")
    token = folder / "token"
    token.write_text("of-the-operator\n")
    token.chmod(0o600)
    text = (FOLDER / "ka_twisted.toml").read_text("utf-8")
    [path] = re.findall(r'^token-file = "(.*)"$', text, re.MULTILINE)
    assert path == f"{mounts()['token']}/token"
    file = folder / "ka_twisted.toml"
    file.write_text(text.replace(path, str(token)))
    draft = ConfigurationBuilder.of(files.read(str(file), str(folder)), {}, [])
    assert not list(draft.warnings())
    return draft.configuration(reactor, daemon=False)


def mounts() -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}


def validate(given: dict[str, Any], version: str) -> None:
    kubernetesValidate = pytest.importorskip("kubernetes_validate")
    kubernetesValidate.validate(given, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", RESOURCES)
def test_kubernetes_takes_it(name: str, version: str) -> None:
    validate(document(name), version)


def test_kubernetes_is_heard_where_it_is_wrong() -> None:
    wrong = document("deployment.yaml")
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(Exception, match="readinesProbe"):
        validate(wrong, VERSIONS[-1])


@pytest.mark.program("kubectl")
def test_kustomize_makes_them_one_thing() -> None:
    done = subprocess.run([str(KUBECTL), "kustomize", str(FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
    assert set(made) == {*(document(name)["kind"] for name in RESOURCES), "ConfigMap"}
    for each in made.values():
        validate(each, VERSIONS[-1])
    volumes = {volume["name"]: volume for volume in made["Deployment"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["configuration"]["configMap"]["name"] == made["ConfigMap"]["metadata"]["name"] != NAME


def test_every_manifest_is_part_of_it() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*RESOURCES, "kustomization.yaml"}
    component = document("prometheus/kustomization.yaml")
    assert component["resources"] == ["podmonitor.yaml"]
    [generated] = KUSTOMIZATION["configMapGenerator"]
    assert generated["files"] == ["ka_twisted.toml"]
    assert generated["name"] == NAME
    [image] = KUSTOMIZATION["images"]
    assert image["name"] == CONTAINER["image"]


def selectors() -> Iterator[Any]:
    yield DEPLOYMENT["selector"]["matchLabels"]
    yield DEPLOYMENT["template"]["metadata"]["labels"]
    yield POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    yield document("service.yaml")["spec"]["selector"]
    yield document("poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"]
    yield document("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"]
    yield document("prometheus/podmonitor.yaml")["spec"]["selector"]["matchLabels"]


def test_all_are_about_the_same_pods() -> None:
    assert list(selectors()) == [LABELS] * 7
    target = document("horizontalpodautoscaler.yaml")["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    assert "replicas" not in DEPLOYMENT, "the autoscaler's number would be reset with every change"


# -- what the server needs ---------------------------------------------------------------------------------------------


def test_a_pod_is_given_the_time_that_it_takes_to_end(configuration: Configuration) -> None:
    timeouts = configuration.timeouts
    needed = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed += timeouts.drainDelay + GRACE + timeouts.drain + timeouts.linger
    assert needed + 5 <= POD["terminationGracePeriodSeconds"]


def test_a_pod_accepts_until_the_cluster_has_turned_away(configuration: Configuration) -> None:
    """The end of a pod is known everywhere within seconds; its readiness is asked for no longer."""
    probe = CONTAINER["readinessProbe"]
    assert CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5
    assert configuration.timeouts.drainDelay >= probe["periodSeconds"] * probe["failureThreshold"]


def test_ports_are_those_of_the_configuration(configuration: Configuration) -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert [listener.endpoint for listener in configuration.listeners] == [f"tcp:{ports['http']}"]
    assert configuration.admin is not None
    assert configuration.admin.endpoint == f"tcp:{ports['operator']}"
    assert configuration.admin.token


def test_probes_ask_the_operators_port() -> None:
    asked = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {each["port"] for each in asked.values()} == {"operator"}
    assert {name: each["path"] for name, each in asked.items()} == {
        "startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz",
    }  # fmt: skip


def test_the_file_is_where_the_server_looks_for_it() -> None:
    assert CONTAINER["args"] == ["--config", f"{mounts()['configuration']}/ka_twisted.toml"]
    volumes = {volume["name"] for volume in POD["volumes"]}
    assert volumes == set(mounts())


# -- what the operator's port needs ------------------------------------------------------------------------------------


def test_the_service_of_the_public_does_not_lead_to_the_operators_port() -> None:
    [port] = document("service.yaml")["spec"]["ports"]
    assert port["targetPort"] == "http"
    assert [name for name in RESOURCES if document(name)["kind"] == "Service"] == ["service.yaml"]


def test_others_reach_the_operators_port_from_where_prometheus_is_only() -> None:
    everybody, prometheus = document("networkpolicy.yaml")["spec"]["ingress"]
    assert everybody == {"ports": [{"port": "http"}]}
    assert prometheus["ports"] == [{"port": "operator"}]
    assert prometheus["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_prometheus_shows_the_token_that_the_pods_have() -> None:
    [endpoint] = document("prometheus/podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    credentials = endpoint["authorization"]["credentials"]
    [secret] = [volume["secret"]["secretName"] for volume in POD["volumes"] if volume["name"] == "token"]
    assert credentials == {"name": secret, "key": "token"}
    assert (endpoint["port"], endpoint["path"]) == ("operator", "/metrics")


def test_the_autoscaler_asks_for_metrics_that_there_are() -> None:
    pytest.importorskip("prometheus_client")
    exposed = set(re.findall(r"^# TYPE (\w+)", Metrics().exposition()[0].decode(), re.MULTILINE))
    offered = {}
    for rule in document("prometheus/adapter.yaml")["rules"]["custom"]:
        [series] = re.findall(r"^\w+", rule["seriesQuery"])
        assert series in exposed
        name = rule.get("name")
        template = re.sub(r"\$\{(\d)\}", r"\\\1", name["as"]) if name else ""
        offered[re.sub(name["matches"], template, series) if name else series] = series
    asked = [metric["pods"]["metric"]["name"] for metric in document("horizontalpodautoscaler.yaml")["spec"]["metrics"]]
    assert asked == list(offered)


# -- hardening ---------------------------------------------------------------------------------------------------------


def test_a_pod_may_do_nothing_that_it_need_not() -> None:
    """The restricted Pod Security Standard, and no more to write than /tmp."""
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert not POD["automountServiceAccountToken"]
    assert all(mount.get("readOnly") for mount in CONTAINER["volumeMounts"] if mount["mountPath"] != "/tmp")
    assert {"cpu", "memory"} == set(CONTAINER["resources"]["requests"])
    assert "memory" in CONTAINER["resources"]["limits"]
