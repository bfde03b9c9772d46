"""The chart renders, Kubernetes knows every field in it, and the pods have no more rights than they need.

Helm's own engine, which helm-python-sdk contains, renders the chart. The fields are compared with the models of the
official Kubernetes client, which are generated from the description of the API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import helm_python
import kubernetes.client.models as models
import pytest
import yaml

from shared.settings import Settings, all_settings, variable_of
from tests.deploy.memory import front_end_bytes

_SECRET = {"redis": {"existingSecret": "maskq-redis"}}
_ALL_ON = {**_SECRET, "ingress": {"enabled": True, "tlsSecret": "tls"}, "monitoring": {"enabled": True}}
_MODELS = {
    "ConfigMap": "V1ConfigMap",
    "Deployment": "V1Deployment",
    "Ingress": "V1Ingress",
    "NetworkPolicy": "V1NetworkPolicy",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Service": "V1Service",
}
_OTHERS = {"ScaledObject": "keda.sh/v1alpha1", "PodMonitor": "monitoring.coreos.com/v1"}


def render(root: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every manifest of the chart."""
    with helm_python.Chart.load(str(root / "deploy" / "helm" / "maskq")) as chart:
        rendered = chart.render(values, name="demo", namespace="vision")
    return [each for text in rendered.values() for each in yaml.safe_load_all(text) if each]


@pytest.fixture
def manifests(root: Path) -> list[dict[str, Any]]:
    return render(root, _ALL_ON)


def _of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def unknown_fields(value: Any, kind: str, path: str = "") -> Iterator[str]:
    """Every field in `value` that is unknown to the API. `kind`: a type as in the models, `List[V1Container]`."""
    if match := re.fullmatch(r"List\[(.+)\]", kind):
        for number, each in enumerate(value):
            yield from unknown_fields(each, match[1], f"{path}[{number}]")
    elif match := re.fullmatch(r"Dict\[\w+, (.+)\]", kind):
        for name, each in value.items():
            yield from unknown_fields(each, match[1], f"{path}.{name}")
    elif model := getattr(models, kind, None):
        known = {written: name for name, written in model.attribute_map.items()}
        for written, each in value.items():
            if written not in known:
                yield f"{path}.{written}"
            else:
                yield from unknown_fields(each, model.openapi_types[known[written]], f"{path}.{written}")


def test_kubernetes_knows_every_field(manifests: list[dict[str, Any]]) -> None:
    for manifest in manifests:
        kind = manifest["kind"]
        if kind in _OTHERS:
            assert manifest["apiVersion"] == _OTHERS[kind]
        else:
            assert list(unknown_fields(manifest, _MODELS[kind], kind)) == []


def test_a_misspelt_field_is_found() -> None:
    spec = {"template": {"spec": {"containers": [{"name": "a", "imagePullPolcy": "Always"}]}}}
    found = list(unknown_fields({"spec": spec}, "V1Deployment"))
    assert found == [".spec.template.spec.containers[0].imagePullPolcy"]


def test_no_pod_has_more_rights_than_it_needs(manifests: list[dict[str, Any]]) -> None:
    deployments = _of_kind(manifests, "Deployment")
    assert set(deployments) == {"demo-api", "demo-worker", "demo-webhooks"}
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsUser"] == 10001
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert not [each for each in container.get("env", []) if "URL" in each["name"] or "TOKEN" in each["name"]]


def test_the_address_of_redis_is_required_and_is_mounted_as_a_file(root: Path, manifests: list[dict[str, Any]]) -> None:
    for deployment in _of_kind(manifests, "Deployment").values():
        (secrets,) = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "secrets"]
        assert secrets["projected"]["sources"][0]["secret"]["name"] == "maskq-redis"
    with pytest.raises(helm_python.HelmError, match="existingSecret"):
        render(root, {})


def test_redis_may_be_known_to_sentinels_and_have_a_private_ca(root: Path) -> None:
    url = "sentinels://sentinel-0:26379,sentinel-1:26379/mymaster/0"
    manifests = render(root, {**_ALL_ON, "redis": {"url": url, "caSecret": "redis-ca"}})
    settings = _of_kind(manifests, "ConfigMap")["demo-settings"]["data"]
    assert settings["REDIS_URL"] == url
    for deployment in _of_kind(manifests, "Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        (secrets,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
        (item,) = [each["secret"] for each in secrets["projected"]["sources"] if each["secret"]["name"] == "redis-ca"]
        (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "secrets"]
        assert settings["MASKQ_CA_FILE"] == f"{mount['mountPath']}/{item['items'][0]['path']}"
    assert "MASKQ_CA_FILE" not in _of_kind(render(root, _ALL_ON), "ConfigMap")["demo-settings"]["data"]


def test_pods_with_sentinels_may_connect_to_each_other(root: Path) -> None:
    pods = {"app": "redis"}
    policy = {"redisPods": pods, "sentinelPort": 26379}
    manifests = render(root, {**_ALL_ON, "networkPolicy": policy})
    (rule,) = _of_kind(manifests, "NetworkPolicy")["demo-redis"]["spec"]["ingress"]
    assert rule["ports"] == [{"port": 6379}, {"port": 26379}]
    assert {"podSelector": {"matchLabels": pods}} in rule["from"]


@pytest.mark.parametrize(
    "values",
    [
        {"redis": {"url": "sentinel://:pw@x/y/0"}},
        {"redis": {"url": "http://x"}},
        {"nonsense": 1},
        {"settings": {"max_batch": 1}},
    ],
)
def test_wrong_values_are_refused(root: Path, values: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmError):
        render(root, {**_SECRET, **values})


def test_every_deployment_has_its_own_labels_and_a_disruption_budget(manifests: list[dict[str, Any]]) -> None:
    budgets = _of_kind(manifests, "PodDisruptionBudget")
    for name, deployment in _of_kind(manifests, "Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budgets[name]["spec"]["selector"]["matchLabels"] == labels
        assert deployment["spec"]["selector"]["matchLabels"] == labels


def test_workers_are_scaled_with_the_number_and_the_age_of_jobs(manifests: list[dict[str, Any]]) -> None:
    (scaled,) = _of_kind(manifests, "ScaledObject").values()
    by_number, by_age = scaled["spec"]["triggers"]
    assert 'maskq_queue_jobs{model="demo"}' in by_number["metadata"]["query"]
    assert (by_number["metricType"], by_number["metadata"]["threshold"]) == ("AverageValue", "16")
    assert 'maskq_queue_oldest_age_seconds{model="demo"}' in by_age["metadata"]["query"]
    assert by_age["metricType"] == "Value"
    assert "replicas" not in _of_kind(manifests, "Deployment")["demo-worker"]["spec"]


def test_a_worker_has_one_gpu_and_enough_time_to_drain(root: Path, manifests: list[dict[str, Any]]) -> None:
    pod = _of_kind(manifests, "Deployment")["demo-worker"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["terminationGracePeriodSeconds"] > Settings.of().liveness.drain_s
    without = render(root, {**_SECRET, "worker": {"gpus": 0}, "scaling": {"enabled": False, "minReplicas": 3}})
    worker = _of_kind(without, "Deployment")["demo-worker"]["spec"]
    assert worker["replicas"] == 3
    assert "nvidia.com/gpu" not in worker["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert {"name": "MASKQ_DEVICE", "value": "cpu"} in worker["template"]["spec"]["containers"][0]["env"]


def test_every_setting_of_the_chart_is_a_setting_of_maskq(manifests: list[dict[str, Any]]) -> None:
    (config,) = _of_kind(manifests, "ConfigMap").values()
    known = {variable_of(name, field) for _, name, field in all_settings()}
    assert set(config["data"]) <= known


def test_the_memory_limit_of_a_front_end_covers_its_settings(manifests: list[dict[str, Any]]) -> None:
    (config,) = _of_kind(manifests, "ConfigMap").values()
    (front,) = _of_kind(manifests, "Deployment")["demo-api"]["spec"]["template"]["spec"]["containers"]
    limit = int(front["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    assert front_end_bytes(config["data"]) < limit


def _settings(root: Path, **values: Any) -> dict[str, str]:
    (config,) = _of_kind(render(root, {**_SECRET, **values}), "ConfigMap").values()
    data: dict[str, str] = config["data"]
    return data


@pytest.mark.parametrize(
    ("ingress", "public_url"),
    [
        ({"host": "a.example", "path": "/maskq", "tlsSecret": "tls"}, "https://a.example/maskq"),
        ({"host": "a.example", "tlsSecret": "tls"}, "https://a.example"),
        ({"host": "a.example", "path": "/maskq"}, "http://a.example/maskq"),
        ({"host": "a.example"}, None),
        ({"host": "a.example", "path": "/maskq", "tlsSecret": "tls", "enabled": False}, None),
    ],
)
def test_links_begin_with_the_address_of_the_ingress(
    root: Path, ingress: dict[str, Any], public_url: str | None
) -> None:
    data = _settings(root, ingress={"enabled": True, **ingress})
    assert data.get("MASKQ_PUBLIC_URL") == public_url
    Settings.of(public_url=public_url or "")


def test_a_given_url_is_used_for_links(root: Path) -> None:
    ingress = {"enabled": True, "path": "/x", "tlsSecret": "tls"}
    assert _settings(root, ingress=ingress, publicUrl="https://b.example")["MASKQ_PUBLIC_URL"] == "https://b.example"


def test_the_ingress_serves_the_path(root: Path) -> None:
    manifests = render(root, {**_ALL_ON, "ingress": {"enabled": True, "path": "/maskq"}})
    (ingress,) = _of_kind(manifests, "Ingress").values()
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/maskq", "Prefix")


def test_nobody_is_trusted_as_a_proxy_but_whom_the_operator_names(root: Path) -> None:
    data = _settings(root)
    assert "FORWARDED_ALLOW_IPS" not in data
    assert all(
        ip_network(each).is_private or each == "100.64.0.0/10" for each in data["MASKQ_METRICS_ALLOW"].split(",")
    )
    named = _settings(root, trustedProxies="10.1.0.0/16,10.2.0.7")
    assert named["FORWARDED_ALLOW_IPS"] == "10.1.0.0/16,10.2.0.7"
    Settings.of(forwarded_allow_ips=named["FORWARDED_ALLOW_IPS"])


def _sources(policy: dict[str, Any]) -> list[tuple[str, Any]]:
    """Who may connect, and to which port."""
    rules = policy["spec"]["ingress"]
    return [
        (next(iter(next(iter(source.values()))["matchLabels"].values())), port["port"])
        for rule in rules
        for source in rule["from"]
        for port in rule["ports"]
    ]


def test_only_named_pods_can_connect_to_a_part(root: Path) -> None:
    manifests = render(root, {**_ALL_ON, "networkPolicy": {"redisPods": {"app": "redis"}}})
    policies = _of_kind(manifests, "NetworkPolicy")
    assert {name: _sources(policy) for name, policy in policies.items()} == {
        "demo-api": [("ingress-nginx", "http"), ("monitoring", "http")],
        "demo-worker": [("monitoring", "metrics")],
        "demo-webhooks": [],
        "demo-redis": [("maskq", 6379)],
    }
    for name, deployment in _of_kind(manifests, "Deployment").items():
        selected = policies[name]["spec"]["podSelector"]["matchLabels"]
        assert selected == deployment["spec"]["template"]["metadata"]["labels"]
    for manifest in policies.values():
        assert manifest["spec"]["policyTypes"] == ["Ingress"]
        assert list(unknown_fields(manifest, _MODELS["NetworkPolicy"])) == []
    assert not _of_kind(render(root, {**_SECRET, "networkPolicy": {"enabled": False}}), "NetworkPolicy")
    assert "demo-redis" not in _of_kind(render(root, _SECRET), "NetworkPolicy")


def _secrets_of(manifests: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The names of the secrets that each deployment mounts."""
    found = {}
    for name, deployment in _of_kind(manifests, "Deployment").items():
        (volume,) = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "secrets"]
        found[name] = [source["secret"]["name"] for source in volume["projected"]["sources"] or []]
    return found


def test_each_part_gets_only_its_own_secrets(root: Path) -> None:
    own = {"api": "redis-api", "worker": "redis-worker", "webhooks": "redis-webhooks"}
    assert _secrets_of(render(root, {"redis": {"secrets": own}, "hfTokenSecret": "hf"})) == {
        "demo-api": ["redis-api"],
        "demo-worker": ["redis-worker", "hf"],
        "demo-webhooks": ["redis-webhooks"],
    }
    mixed = {"existingSecret": "redis", "secrets": {"worker": "redis-worker"}}
    assert _secrets_of(render(root, {"redis": mixed})) == {
        "demo-api": ["redis"],
        "demo-worker": ["redis-worker"],
        "demo-webhooks": ["redis"],
    }
    with pytest.raises(helm_python.HelmError, match="existingSecret"):
        render(root, {"redis": {"secrets": {"api": "redis-api"}}})


def test_a_setting_in_values_replaces_that_of_the_chart(root: Path) -> None:
    own = {"FORWARDED_ALLOW_IPS": "10.9.0.0/16", "MASKQ_PUBLIC_URL": "https://c.example", "MASKQ_METRICS_ALLOW": "::1"}
    data = _settings(root, settings=own, ingress={"enabled": True, "tlsSecret": "tls"})
    assert {name: data[name] for name in own} == own


@pytest.mark.parametrize(
    "values",
    [
        {"publicUrl": "example.com"},
        {"publicUrl": "https://a.example/?x"},
        {"ingress": {"path": "maskq"}},
        {"ingress": {"path": "/a b"}},
        {"metricsNetworks": "*"},
        {"metricsNetworks": ""},
        {"trustedProxies": "*"},
        {"networkPolicy": {"clients": []}},  # would be everybody
    ],
)
def test_wrong_addresses_are_refused(root: Path, values: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmError):
        render(root, {**_SECRET, **values})


def test_settings_that_are_off_or_empty_are_passed_on(root: Path) -> None:
    own = {"MASKQ_ACCEPT_UNSERVED": False, "MASKQ_DRAIN_S": 0, "MASKQ_IMAGE_STORE": ""}
    data = _settings(root, settings=own)
    assert {name: data[name] for name in own} == {
        "MASKQ_ACCEPT_UNSERVED": "false",
        "MASKQ_DRAIN_S": "0",
        "MASKQ_IMAGE_STORE": "",
    }
