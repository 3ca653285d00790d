"""The files in docker/ agree with the project: linted, parsed, and naming only what exists. No engine runs them."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
SYSTEM_STEPS = {"apt-get", "rm", "ldconfig", "useradd", "install"}
NAME = re.compile(r"^[a-z0-9./-]+(:[\w.-]+)?$")


def dockerfile_steps(text):
    """(instruction, rest) of each instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def make_targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def strange_runs(text):
    """Parts of RUN steps that are neither a step of the system's packages and users nor a make target."""
    strange = []
    for instruction, rest in dockerfile_steps(text):
        if instruction == "RUN":
            for part in re.sub(r"--mount=\S+", "", rest).split("&&"):
                words = shlex.split(part)
                if words[0] == "make" and len(words) == 2 and words[1] in make_targets():
                    continue
                if words[0] not in SYSTEM_STEPS:
                    strange.append(part.strip())
    return strange


def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def kuberay():
    return {d["kind"]: d for d in yaml.safe_load_all((DOCKER / "kuberay.yaml").read_text())}


def build_words(words):
    """The arguments of the `editloom build` that a container runs, from its command and its arguments."""
    script = shlex.split(words[2].replace("$$@", "").replace("$@", ""))
    at = script.index("editloom")
    assert script[at - 1] == "exec"  # or it would not get the container's signals
    return [*script[at + 1 :], *words[4:]]


def containers():
    spec = kuberay()["RayCluster"]["spec"]
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [c for pod in pods for c in pod["template"]["spec"]["containers"]]


def test_dockerfile_passes_hadolint():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_run_step_is_a_system_step_or_a_make_target():
    assert strange_runs((DOCKER / "Dockerfile").read_text()) == []


@pytest.mark.parametrize("step", ["RUN pip install ray", "RUN make nonsense", "RUN apt-get update && curl x"])
def test_the_check_of_run_steps_can_fail(step):
    assert strange_runs(f"FROM x\n{step}\n")


def test_dockerfile_has_both_targets_run_by_an_unprivileged_user():
    stages = (DOCKER / "Dockerfile").read_text().split("\nFROM ")[1:]
    found = {s.split()[2]: dict(dockerfile_steps(f"FROM {s}")) for s in stages}
    assert set(found) == {"build", "build-gpu", "cpu", "gpu"}
    for name in ("cpu", "gpu"):
        assert found[name]["ENTRYPOINT"] == '["editloom"]'
        assert found[name]["WORKDIR"] == "/app"
        assert int(found[name]["USER"]) > 0
        assert re.search(r":\d+\.\d+", found[name]["FROM"])


def test_the_build_context_has_what_the_image_is_made_of():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    own = [rest.split() for i, rest in dockerfile_steps((DOCKER / "Dockerfile").read_text()) if i == "COPY"]
    copied = {words[0] for words in own if not words[0].startswith("--from") and words[0] != "."}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {(ROOT / origin).is_file() for origin in copied} == {True}
    made_of = {"README.md", "LICENSE", "Makefile", "pyproject.toml", "requirements", "manifests"}
    assert copied | made_of | {name.removesuffix("*") for name in packages} <= allowed


def test_compose_has_a_limited_head_two_workers_and_a_build():
    services = compose()["services"]
    assert set(services) == {"head", "worker", "build"}
    assert services["worker"]["deploy"]["replicas"] == 2
    for service in services.values():
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
        assert "runs:/app/runs" in service["volumes"]
        assert "healthcheck" in service
    build = services["head"]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_compose_makes_as_many_workers_as_it_has_cores():
    services = compose()["services"]
    cores = int(re.search(r"--num-cpus=(\d+)", services["worker"]["command"])[1])
    words = build_words([*services["build"]["entrypoint"], *services["build"]["command"]])
    assert int(words[words.index("--workers") + 1]) == cores * services["worker"]["deploy"]["replicas"]


def test_kuberay_makes_as_many_workers_as_it_has_cores():
    groups = kuberay()["RayCluster"]["spec"]["workerGroupSpecs"]
    cores = sum(g["replicas"] * int(g["rayStartParams"]["num-cpus"]) for g in groups)
    driver = kuberay()["Job"]["spec"]["template"]["spec"]["containers"][0]
    words = build_words([*driver["command"], *driver["args"]])
    assert int(words[words.index("--workers") + 1]) == cores


def test_builds_use_options_and_manifests_that_exist():
    options = {o for p in typer.main.get_command(app).commands["build"].params for o in p.opts}
    driver = kuberay()["Job"]["spec"]["template"]["spec"]["containers"][0]
    service = compose()["services"]["build"]
    for words in ([*driver["command"], *driver["args"]], [*service["entrypoint"], *service["command"]]):
        given = build_words(words)
        assert given[0] == "build"
        assert {w for w in given if w.startswith("--")} <= options
        assert [(ROOT / w).is_file() for w in given if w.endswith(".toml")] == [True]


def test_kuberay_shares_one_claim_among_all_pods():
    found = kuberay()
    assert set(found) == {"PersistentVolumeClaim", "RayCluster", "Job"}
    assert found["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    spec = found["RayCluster"]["spec"]
    pods = [g["template"]["spec"] for g in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    for pod in [*pods, found["Job"]["spec"]["template"]["spec"]]:
        claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [found["PersistentVolumeClaim"]["metadata"]["name"]]
        assert pod["securityContext"]["runAsNonRoot"]


def test_kuberay_states_the_locked_version_of_ray():
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE)[1]
    assert kuberay()["RayCluster"]["spec"]["rayVersion"] == locked


def test_kuberay_pods_are_limited_and_probed_without_the_dashboard():
    for container in containers():
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"][:2] == ["ray", "health-check"]


def test_no_secret_is_written_down_and_images_are_named_without_a_registry():
    service = compose()["services"]["head"]
    assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    for container in containers():
        token = next(e for e in container["env"] if e["name"] == "RAY_AUTH_TOKEN")
        assert "value" not in token
        assert NAME.match(container["image"])
