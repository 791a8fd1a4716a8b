"""A cluster on Kubernetes for one run: the manifest of a KubeRay `RayJob`."""

import importlib.metadata
import shlex
from pathlib import Path, PurePosixPath

from nas.errors import UsageError
from nas.launch.job import Job, Submission
from nas.launch.manifest import Manifest, to_yaml

RUNS, RECIPE = PurePosixPath("/runs"), PurePosixPath("/recipe")
"""Where machines have the volume for runs, and the recipe's file."""

RETRIES = 2
"""New clusters that go on with the run where one was lost."""

KEPT_SECONDS = 600
"""How long a cluster stays after its job, for a look at its logs."""


def submission(job: Job) -> Submission:
    """Returns the manifests that `kubectl apply` makes the run of.

    Raises:
        UsageError: If no image or volume is given, or the run would not be kept.
    """
    options = job.options
    if options.image is None:
        raise UsageError(
            "--kind kuberay needs --image, one that has nas-jax and Ray "
            f"{_ray_version()} in it"
        )
    if options.volume is None:
        raise UsageError(
            "--kind kuberay needs --volume, the PersistentVolumeClaim (ReadWriteMany) "
            "that run directories are kept on"
        )
    if job.out is None:
        job = job.with_arguments("--out", str(RUNS / job.name))
    elif not job.out.is_relative_to(RUNS):
        raise UsageError(
            f"--out {job.out} is gone with the cluster: it must lie in {RUNS}, where "
            "the volume is"
        )
    files = [_config_map(job)] if job.is_file else []
    text = to_yaml(*files, _ray_job(job))
    return Submission(
        text=text,
        line=("kubectl", "apply", "-f", "-"),
        given=text,
        then=f"follow it with `kubectl get rayjob {job.name}`; before the same line "
        f"can go on with a run that ended, `kubectl delete rayjob {job.name}`",
    )


def _metadata(job: Job, name: str) -> Manifest:
    namespace = job.options.namespace
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def _config_map(job: Job) -> Manifest:
    path = Path(job.target)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(job, f"{job.name}-recipe"),
        "data": {path.name: path.read_text()},
    }


def _ray_job(job: Job) -> Manifest:
    options = job.options
    target = str(RECIPE / Path(job.target).name) if job.is_file else job.target
    there = Job(
        target=target,
        arguments=(*job.arguments, "--ray-address", "auto"),
        out=job.out,
        name=job.name,
        options=options,
    )
    specification: dict[str, object] = {
        "entrypoint": shlex.join(there.line),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "backoffLimit": RETRIES,
    }
    if options.seconds is not None:
        specification["activeDeadlineSeconds"] = options.seconds
    head: Manifest = {
        # Where jobs are submitted to.
        "rayStartParams": {"dashboard-host": "0.0.0.0"},
        "template": _template(job, "ray-head"),
    }
    workers: Manifest = {
        "groupName": "workers",
        "replicas": options.workers,
        "minReplicas": options.workers,
        "maxReplicas": options.workers,
        "rayStartParams": {},
        "template": _template(job, "ray-worker"),
    }
    specification["rayClusterSpec"] = {
        "rayVersion": _ray_version(),
        "headGroupSpec": head,
        "workerGroupSpecs": [workers] if options.workers else [],
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(job, job.name),
        "spec": specification,
    }


def _template(job: Job, name: str) -> Manifest:
    """Returns the pod of a machine; head and workers are alike."""
    options = job.options
    mounts: list[Manifest] = [{"name": "runs", "mountPath": str(RUNS)}]
    volumes: list[Manifest] = [
        {"name": "runs", "persistentVolumeClaim": {"claimName": options.volume}}
    ]
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    if job.is_file:
        mounts.append({"name": "recipe", "mountPath": str(RECIPE)})
        volumes.append({"name": "recipe", "configMap": {"name": f"{job.name}-recipe"}})
        # Evaluators unpickle what the recipe defines.
        environment["PYTHONPATH"] = str(RECIPE)
    resources = _resources(job)
    container: Manifest = {
        "name": name,
        "image": options.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": resources, "limits": resources},
        "volumeMounts": mounts,
    }
    pod: dict[str, object] = {"containers": [container], "volumes": volumes}
    if options.node_selector:
        pairs = (selector.split("=", 1) for selector in options.node_selector)
        pod["nodeSelector"] = dict(pairs)
    return {"spec": pod}


def _resources(job: Job) -> Manifest:
    options = job.options
    devices = {
        "nvidia.com/gpu": options.gpus_per_worker,
        "google.com/tpu": options.tpus_per_worker,
    }
    return {
        "cpu": str(options.cpus_per_worker),
        "memory": f"{options.memory}i",
        **{name: str(count) for name, count in devices.items() if count},
    }


def _ray_version() -> str:
    return importlib.metadata.version("ray")
