"""The files to deploy the gateway with are valid, by the validators of their formats."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from reward_client import cli
from reward_client.gateway import GatewayLimits
from reward_client.gateway.contracts import CONTRACTS

from . import pages

PAGE = pages.DOCS / "how-to" / "gateway.md"
KUBERNETES = "1.34"
SECTIONS = pages.sections(PAGE)
(COMPOSE,) = pages.fenced(SECTIONS["With Docker Compose"], "yaml")
(MANIFEST,) = pages.fenced(SECTIONS["On Kubernetes"], "yaml")
OBJECTS = [*yaml.safe_load_all(MANIFEST)]


def compose_schema() -> object:
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    return json.loads((folder / "compose-spec.json").read_text("utf-8"))


def test_the_compose_file_is_valid() -> None:
    jsonschema.validate(yaml.safe_load(COMPOSE), compose_schema())


def test_a_compose_file_with_a_mistake_is_not() -> None:
    broken = COMPOSE.replace("healthcheck:", "healthchecks:")
    assert broken != COMPOSE
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(broken), compose_schema())


@pytest.mark.parametrize(
    "item", OBJECTS, ids=lambda item: f"{item['kind']} {item['metadata']['name']}"
)
def test_the_manifest_is_valid(item: object) -> None:
    validate(item, KUBERNETES, strict=True)


def test_a_manifest_with_a_mistake_is_not() -> None:
    broken = MANIFEST.replace("containerPort:", "containerport:")
    assert broken != MANIFEST
    (deployment,) = [item for item in yaml.safe_load_all(broken) if item["kind"] == "Deployment"]
    with pytest.raises(ValidationError, match="containerport"):
        validate(deployment, KUBERNETES, strict=True)


def test_the_parts_of_the_manifest_find_one_another() -> None:
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in OBJECTS}
    for (kind, _), item in by_name.items():
        if kind in ("Deployment", "StatefulSet"):
            labels = item["spec"]["template"]["metadata"]["labels"]
            assert item["spec"]["selector"]["matchLabels"] == labels
            assert ("Service", labels["app"]) in by_name
        if kind == "Service":
            assert item["spec"]["selector"] == {"app": item["metadata"]["name"]}
    models = by_name["StatefulSet", "reward-model"]["spec"]
    assert ("Service", models["serviceName"]) in by_name
    pod = by_name["Deployment", "reward-gateway"]["spec"]["template"]["spec"]
    (gateway,) = pod["containers"]
    urls = [each.removeprefix("--url=") for each in gateway["args"] if each.startswith("--url=")]
    assert urls == [
        f"http://reward-model-{number}.reward-model:8000" for number in range(models["replicas"])
    ]
    secret = by_name["Secret", pod["volumes"][0]["secret"]["secretName"]]
    assert gateway["args"][-1].rpartition("/")[2] in secret["stringData"]


def test_a_gateway_has_the_time_to_answer() -> None:
    """Requests in flight end before the orchestrator kills the process, and load is no death."""
    grace = GatewayLimits().grace
    compose = yaml.safe_load(COMPOSE)["services"]["gateway"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > grace
    (pod,) = [each["spec"]["template"]["spec"] for each in OBJECTS if each["kind"] == "Deployment"]
    (gateway,) = pod["containers"]
    before = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > before + grace
    for kind in ("StatefulSet", "Deployment"):
        (item,) = [each for each in OBJECTS if each["kind"] == kind]
        (container,) = item["spec"]["template"]["spec"]["containers"]
        probe = container["livenessProbe"]
        assert probe["timeoutSeconds"] * probe["failureThreshold"] >= 60


def test_the_gateway_may_run_where_pods_are_restricted() -> None:
    """The standard "restricted" of Kubernetes refuses a pod without these."""
    (pod,) = [each["spec"]["template"]["spec"] for each in OBJECTS if each["kind"] == "Deployment"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (gateway,) = pod["containers"]
    expected = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert gateway["securityContext"] == expected


def test_the_gateway_takes_the_arguments() -> None:
    (gateway,) = [
        item["spec"]["template"]["spec"]["containers"][0]
        for item in OBJECTS
        if item["kind"] == "Deployment"
    ]
    for arguments in (gateway["args"], yaml.safe_load(COMPOSE)["services"]["gateway"]["command"]):
        assert cli._parser().parse_args(["gateway", *arguments]).run


def test_the_page_lists_each_contract() -> None:
    table = SECTIONS["Contracts"]
    assert [each.path for each in CONTRACTS if f"`{each.path}`" not in table] == []
