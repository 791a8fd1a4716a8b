"""Launching: what is submitted is well formed and says what the person said."""

import json
import shlex
import subprocess
import sys

import jsonschema
import pytest
import yaml

from nas.cli import main
from nas.launch import ray
from nas.launch.options import LaunchOptions

RECIPE = """
import nas

experiment = nas.Experiment(
    model=nas.Decoder(
        width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4
    ),
    data=nas.StdlibText(tokens=16),
)
"""

FIELDS = ("--search.constraints", "latency_ms <= 60%", "params<=3e5", "--seed", "7")

ENDED = {"type": "string", "pattern": r"^[1-9]\d*(Gi|Mi|Ti)?$"}
POD = {
    "type": "object",
    "required": ["spec"],
    "additionalProperties": False,
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers", "volumes"],
            "additionalProperties": False,
            "properties": {
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "image", "resources"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"enum": ["ray-head", "ray-worker"]},
                            "image": {"type": "string"},
                            "env": {
                                "type": "array",
                                "items": {
                                    "required": ["name", "value"],
                                    "properties": {"value": {"type": "string"}},
                                },
                            },
                            "resources": {
                                "required": ["requests", "limits"],
                                "additionalProperties": {
                                    "type": "object",
                                    "required": ["cpu", "memory"],
                                    "additionalProperties": ENDED,
                                },
                            },
                            "volumeMounts": {
                                "items": {"required": ["name", "mountPath"]}
                            },
                        },
                    },
                },
                "volumes": {"items": {"required": ["name"]}},
                "nodeSelector": {"additionalProperties": {"type": "string"}},
            },
        }
    },
}
WHOLE = {"type": "integer", "minimum": 0}
RAY_JOB = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": {"maxLength": 47}, "namespace": {"type": "string"}},
        },
        "spec": {
            "required": ["entrypoint", "rayClusterSpec", "shutdownAfterJobFinishes"],
            "additionalProperties": False,
            "properties": {
                "entrypoint": {"type": "string"},
                "shutdownAfterJobFinishes": {"const": True},
                "ttlSecondsAfterFinished": WHOLE,
                "activeDeadlineSeconds": WHOLE,
                "backoffLimit": WHOLE,
                "rayClusterSpec": {
                    "required": ["headGroupSpec", "workerGroupSpecs"],
                    "additionalProperties": False,
                    "properties": {
                        "rayVersion": {"type": "string"},
                        "headGroupSpec": {
                            "required": ["rayStartParams", "template"],
                            "additionalProperties": False,
                            "properties": {
                                "rayStartParams": {
                                    "additionalProperties": {"type": "string"}
                                },
                                "template": POD,
                            },
                        },
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": {
                                "required": ["groupName", "rayStartParams", "template"],
                                "additionalProperties": False,
                                "properties": {
                                    "groupName": {"type": "string"},
                                    "replicas": WHOLE,
                                    "minReplicas": WHOLE,
                                    "maxReplicas": WHOLE,
                                    "rayStartParams": {"type": "object"},
                                    "template": POD,
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What the fields of `ray.io/v1` that are written look like."""


@pytest.fixture(autouse=True)
def recipe(tmp_path, monkeypatch):
    """The working directory holds one recipe, and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ray.ADDRESS, raising=False)
    (tmp_path / "small_recipe.py").write_text(RECIPE)
    yield "small_recipe.py"
    sys.modules.pop("small_recipe", None)


def code_of(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["launch", *arguments])
    return end.value.code


def printed(capsys, *arguments):
    assert code_of(*arguments, "--dry-run") == 0
    return capsys.readouterr().out


def run_of(line, target):
    """Returns the arguments of the launched run, which its own parser must take."""
    assert line[:5] == ["python", "-m", "nas", "run", target]
    from nas.cli import _parse_options
    from nas.config import load_recipe

    known = "small_recipe.py" if target.endswith(".py") else target
    return _parse_options("run", target, load_recipe(known), line[5:])


CLUSTER = ("--cluster", "http://head:8265")
KUBERAY = ("--kind", "kuberay", "--image", "us/nas:1", "--volume", "runs")


def test_a_job_for_ray_says_where_and_what_and_its_words_are_quoted(capsys):
    told = printed(
        capsys, "small_recipe.py", *CLUSTER, "--out", "/shared/my run", *FIELDS
    )
    line = shlex.split(told)
    dashes = line.index("--")
    assert line[:3] == ["ray", "job", "submit"]
    options = dict(zip(line[3:dashes:2], line[4:dashes:2], strict=True))
    assert options["--address"] == "http://head:8265"
    assert options["--working-dir"] == "."
    assert json.loads(options["--metadata-json"]) == {"name": "small-recipe"}
    runtime = json.loads(options["--runtime-env-json"])
    assert "runs/" in runtime["excludes"]
    run, experiment = run_of(line[dashes + 1 :], "small_recipe.py")
    assert str(run.out) == "/shared/my run"
    assert run.ray_address == "auto"
    assert experiment.search.constraints == FIELDS[1:3]
    assert experiment.seed == 7


def test_the_address_may_be_in_the_environment(capsys, monkeypatch):
    monkeypatch.setenv(ray.ADDRESS, "http://there:8265")
    told = printed(capsys, "experiments.quickstart", "--out", "/shared/run")
    assert "--address http://there:8265" in told
    assert "nas run experiments.quickstart --out /shared/run" in told


def manifests(capsys, *arguments):
    return list(yaml.safe_load_all(printed(capsys, *arguments)))


def test_a_rayjob_is_one_for_kuberay(capsys):
    (job,) = manifests(capsys, "experiments.quickstart", *KUBERAY, *FIELDS)
    jsonschema.validate(job, RAY_JOB)
    assert job["metadata"] == {"name": "quickstart"}
    line = shlex.split(job["spec"]["entrypoint"])
    run, experiment = run_of(line, "experiments.quickstart")
    assert str(run.out) == "/runs/quickstart"
    assert run.ray_address == "auto"
    assert experiment.search.constraints == FIELDS[1:3]
    assert "activeDeadlineSeconds" not in job["spec"]


def test_machines_of_a_rayjob_are_what_was_asked_for(capsys):
    machines = ("--workers", "3", "--gpus-per-worker", "2", "--memory", "64G")
    place = ("--namespace", "team", "--name", "vit-2", "--time", "1-02:00:01")
    selector = ("--node-selector", "cloud.google.com/gke-accelerator=nvidia-l4", "a=b")
    (job,) = manifests(
        capsys, "experiments.quickstart", *KUBERAY, *machines, *place, *selector
    )
    jsonschema.validate(job, RAY_JOB)
    assert job["metadata"] == {"name": "vit-2", "namespace": "team"}
    assert job["spec"]["activeDeadlineSeconds"] == 26 * 3600 + 1
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 3
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        wanted = {"cpu": "4", "memory": "64Gi", "nvidia.com/gpu": "2"}
        assert container["resources"] == {"requests": wanted, "limits": wanted}
        assert pod["nodeSelector"]["a"] == "b"
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": "runs"}
        assert container["volumeMounts"] == [{"name": "runs", "mountPath": "/runs"}]


def test_chips_of_a_tpu_are_asked_for_by_their_name_and_a_head_may_be_alone(capsys):
    chips = ("--tpus-per-worker", "4", "--workers", "0")
    (job,) = manifests(capsys, "experiments.quickstart", *KUBERAY, *chips)
    jsonschema.validate(job, RAY_JOB)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["workerGroupSpecs"] == []
    (container,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["google.com/tpu"] == "4"


def test_a_recipe_file_travels_in_a_config_map(capsys):
    told = printed(capsys, "small_recipe.py", *KUBERAY, "--out", "/runs/a b")
    files, job = yaml.safe_load_all(told)
    # A person can read it.
    assert "  small_recipe.py: |" in told
    assert files["kind"] == "ConfigMap"
    assert files["data"] == {"small_recipe.py": RECIPE}
    jsonschema.validate(job, RAY_JOB)
    run, _ = run_of(shlex.split(job["spec"]["entrypoint"]), "/recipe/small_recipe.py")
    assert str(run.out) == "/runs/a b"
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    named = {"name": "recipe", "configMap": {"name": files["metadata"]["name"]}}
    assert named in pod["volumes"]
    environment = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    assert environment["PYTHONPATH"] == "/recipe"


FAKES = {
    "scontrol": "printf 'node-1\\nnode-2\\nnode-3\\n'",
    "srun": 'while [[ "$1" == --* ]]; do node="$1"; shift; done\n'
    'NODE="${node#--nodelist=}" exec "$@"',
    "hostname": "echo '10.0.0.1 172.17.0.1'",
    "ray": 'echo "$NODE ray $*" >> log',
    "python": 'printf "%s\\n" "$NODE" "$@" > run',
}
"""What a node of Slurm has, as far as the script needs it."""


def test_the_script_for_slurm_starts_ray_on_every_node_and_then_the_run(
    capsys, tmp_path
):
    words = (*FIELDS, "--out", "my $HOME 'run'")
    machines = ("--workers", "2", "--gpus-per-worker", "1", "--time", "02:00:00")
    places = ("--partition", "gpu", "--account", "lab")
    script = printed(
        capsys, "small_recipe.py", "--kind", "slurm", *machines, *places, *words
    )
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    header = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    for directive in (
        "job-name=small-recipe",
        "nodes=3",
        "cpus-per-task=4",
        "gpus-per-node=1",
        "mem=16G",
        "time=02:00:00",
        "partition=gpu",
        "account=lab",
        "requeue",
    ):
        assert f"#SBATCH --{directive}" in header
    for name, text in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HOME": "/elsewhere",
        "SLURM_JOB_NODELIST": "node-[1-3]",
        "SLURM_JOB_ID": "54321",
        "SLURM_CPUS_PER_TASK": "4",
    }
    subprocess.run(["bash", "-s"], input=script, text=True, env=given, check=True)
    node, *line = (tmp_path / "run").read_text().splitlines()
    assert node == "node-1"
    run, experiment = run_of(["python", *line], "small_recipe.py")
    assert run.ray_address == "10.0.0.1:24321"
    assert str(run.out) == "my $HOME 'run'"
    assert experiment.search.constraints == FIELDS[1:3]
    started = sorted((tmp_path / "log").read_text().splitlines())
    starts = [line for line in started if " ray start " in line]
    assert [line.split()[0] for line in starts] == ["node-1", "node-2", "node-3"]
    assert "--head" in starts[0]
    assert "--node-ip-address=10.0.0.1 --port=24321" in starts[0]
    assert all("--address=10.0.0.1:24321" in line for line in starts[1:])
    assert all("--num-cpus=4 --num-gpus=1" in line for line in starts)


OUT = ("--out", "/shared/run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give the recipe first: nas launch TARGET"),
        (("small_recipe.py", *OUT), "which cluster? Give --cluster http://HOST:8265"),
        (("small_recipe.py", *OUT, "--cluster", "head:6379"), "not 'head:6379'"),
        (("small_recipe.py", *CLUSTER), "give --out as an absolute path"),
        (("small_recipe.py", *CLUSTER, "--out", "runs/x"), "give --out as an absolute"),
        (("../x/small_recipe.py", *CLUSTER, *OUT), "does not exist"),
        (("absent.recipe", *CLUSTER, *OUT), "no recipe 'absent.recipe'"),
        ((".", *CLUSTER, *OUT), ". is a run directory: launch its recipe"),
        (
            ("small_recipe.py", *CLUSTER, *OUT, "--ray-address", "auto"),
            "--ray-address is for the launched job to find",
        ),
        (("small_recipe.py", *CLUSTER, *OUT, "--seed", "-1"), "seed must not be neg"),
        (("small_recipe.py", *CLUSTER, *OUT, "--sed", "1"), "--seed"),
        (("small_recipe.py", "--kind", "kuberay"), "--kind kuberay needs --image"),
        (
            ("small_recipe.py", "--kind", "kuberay", "--image", "x"),
            "--kind kuberay needs --volume",
        ),
        (("small_recipe.py", *KUBERAY, *OUT), "is gone with the cluster"),
        (("small_recipe.py", *KUBERAY, "--memory", "lots"), "as 16G"),
        (("small_recipe.py", *KUBERAY, "--time", "2h"), "as 12:00:00"),
        (("small_recipe.py", *KUBERAY, "--workers", "-1"), "workers must be at least"),
        (("small_recipe.py", *KUBERAY, "--node-selector", "gpu"), "is not KEY=VALUE"),
        (("small_recipe.py", *KUBERAY, "--name", "My_Job"), "as vit-2"),
        (
            ("small_recipe.py", "--kind", "slurm", "--image", "x"),
            "--image is for kuberay; --kind is slurm",
        ),
        (
            ("small_recipe.py", *CLUSTER, *OUT, "--workers", "3"),
            "--workers is for kuberay and slurm; --kind is ray",
        ),
    ],
)
def test_what_cannot_be_launched_is_told_before_anything_is_printed(
    capsys, arguments, message
):
    assert code_of(*arguments) == 2
    out, err = capsys.readouterr()
    # Parsing errors are in a frame.
    told = " ".join((out + err).replace("│", " ").split())
    assert message in told
    assert "apiVersion" not in told


@pytest.mark.parametrize(
    ("arguments", "command"),
    [((*KUBERAY,), "kubectl"), (("--kind", "slurm"), "sbatch")],
)
def test_a_job_is_handed_to_the_command_of_its_cluster(
    capfd, monkeypatch, tmp_path, arguments, command
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_of("small_recipe.py", *arguments) == 2
    assert f"there is no `{command}` on this machine" in capfd.readouterr().err
    fake = tmp_path / command
    fake.write_text(
        '#!/bin/bash\necho "$*" > given\n/bin/cat >> given\nexit "${CODE:-0}"'
    )
    fake.chmod(0o755)
    assert code_of("small_recipe.py", *arguments) == 0
    told = capfd.readouterr().out
    words, _, manifest = (tmp_path / "given").read_text().partition("\n")
    assert words == ("apply -f -" if command == "kubectl" else "")
    assert told.startswith(manifest)
    assert "follow it with" in told
    monkeypatch.setenv("CODE", "3")
    assert code_of("small_recipe.py", *arguments) == 1
    assert f"`{command}` ended with code 3" in capfd.readouterr().err


def test_without_the_extra_a_job_for_ray_is_refused_with_what_to_install(
    capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert code_of("small_recipe.py", *CLUSTER, *OUT) == 2
    assert "pip install 'nas-jax[launch]'" in capsys.readouterr().err


def test_help_tells_all_options_with_and_without_a_recipe(capsys):
    for arguments in (("--help",), ("small_recipe.py", "--help")):
        assert code_of(*arguments) == 0
        told = capsys.readouterr().out
        for field in LaunchOptions.__dataclass_fields__:
            assert f"--{field.replace('_', '-')}" in told
        assert "nas run TARGET --help" in " ".join(told.split())
