"""Campaigns on a cluster of several nodes that loses some of them."""

import sys
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from nas.ray_session import LOCAL_DEFAULTS, packages, ray_session
from search.nsga2 import Nsga2
from search.stopping import Stop
from search.tune import Campaign
from search.workers import Crew, Workers
from tests.search.on_ray import MakeEvaluate, alone, by_value, content, search

pytestmark = pytest.mark.slow

LONG = Campaign(
    name="long",
    algorithm=Nsga2(population=32),
    seed=1,
    stop=Stop(evaluations=96),
)

SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 2,
}
"""A dead node is noticed in seconds instead of half a minute."""


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose head has nothing to compute with; this process is its driver."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in LOCAL_DEFAULTS.items():
            patched.setenv(name, value)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "_system_config": SOON,
            },
        )
        with ray_session(cluster.address, cpus=0), by_value(sys.modules[__name__]):
            yield cluster
        cluster.shutdown()


@pytest.fixture
def add_node(cluster):
    """Adds nodes of given resources; those of a test are gone after it."""
    added = []

    def add(**resources):
        cpus = resources.pop("CPU", 0)
        added.append(cluster.add_node(num_cpus=cpus, resources=resources))
        return added[-1]

    yield add
    for node in added:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


class Lingering(MakeEvaluate):
    """Takes its time, and notes on which node it was spent."""

    def __call__(self, weights):
        node = ray.get_runtime_context().get_node_id()
        evaluate = super().__call__(weights)

        def linger(genotypes, part):
            time.sleep(0.3)
            with self.log.with_suffix(".nodes").open("a") as file:
                file.write(f"{node}\n")
            return evaluate(genotypes, part)

        return linger

    def nodes(self):
        return self.log.with_suffix(".nodes").read_text().split()


def loses(cluster, node, then=lambda: None):
    """Returns what pulls the plug of a node after the first generation."""

    def heard(progress, _):
        if progress.generation == 1 and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)
            then()

    return heard


def evaluators(count):
    return Workers(count=count, resources={"accelerator": 1.0})


def assert_undisturbed(archive):
    """The archive is that of a run which nothing happened to, line for line."""
    expected, progress = alone(LONG)
    assert content(archive) == content(expected)
    assert len({record.genotype for record in archive.records}) == len(archive)
    return progress


def test_the_other_evaluator_does_the_work_of_one_whose_node_died(
    cluster, add_node, tmp_path
):
    add_node(CPU=1)
    lost, kept = add_node(accelerator=1), add_node(accelerator=1)
    crews, make = [], Lingering(tmp_path / "log")
    pull = loses(cluster, lost)

    def heard(progress, crew):
        crews.append(crew)
        pull(progress, crew)

    archive, told = search(tmp_path, make, LONG, workers=evaluators(2), heard=heard)
    assert told == assert_undisturbed(archive)
    nodes = make.nodes()
    assert set(nodes) == {lost.node_id, kept.node_id}
    assert nodes.count(lost.node_id) < nodes.count(kept.node_id)
    assert crews[0] == Crew(count=2, alive=2, restarts=0)
    assert crews[-1] == Crew(count=2, alive=1, restarts=0)


@pytest.mark.long
def test_a_lone_evaluator_goes_on_at_the_node_that_replaces_its_own(
    cluster, add_node, tmp_path
):
    add_node(CPU=1)
    lost, crews, make = add_node(accelerator=1), [], Lingering(tmp_path / "log")
    pull = loses(cluster, lost, then=lambda: add_node(accelerator=1))

    def heard(progress, crew):
        crews.append(crew)
        pull(progress, crew)

    archive, told = search(tmp_path, make, LONG, workers=evaluators(1), heard=heard)
    assert told == assert_undisturbed(archive)
    assert len(set(make.nodes())) == 2
    assert crews[-1] == Crew(count=1, alive=1, restarts=1)


def test_a_campaign_whose_own_node_died_begins_again_and_evaluates_nothing_twice(
    cluster, add_node, tmp_path, monkeypatch
):
    lost = add_node(CPU=1)
    add_node(accelerator=2)
    make = Lingering(tmp_path / "log")
    # Every process finds another folder there: only the driver sees this one.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tune").mkdir()
    archive, told = search(
        tmp_path,
        make,
        LONG,
        workers=evaluators(2),
        storage=Path("/proc/self/cwd/tune"),
        heard=loses(cluster, lost, then=lambda: add_node(CPU=1)),
    )
    progress = assert_undisturbed(archive)
    assert told[-len(progress) :] == progress
    assert len(told) > len(progress)
    assert any((tmp_path / "tune").rglob("experiment_state*.json"))
    evaluated = make.evaluated()
    # What was being computed when the campaign was lost is computed again.
    assert len(evaluated) < len(archive) + 2 * 2 * 8 + 1
    assert set(evaluated) == {record.genotype for record in archive.records}


def test_packages_of_the_driver_are_there_for_nodes_that_lack_them(add_node):
    node = add_node(CPU=1)

    @ray.remote(num_cpus=1)
    def there():
        shipped = [path for path in sys.path if "py_modules_files" in path]
        # All nodes of this test find this folder as well, and look there first.
        found = {Path(entry).name: entry for path in shipped for entry in walk(path)}
        return ray.get_runtime_context().get_node_id(), found

    where, found = ray.get(there.remote())
    assert where == node.node_id
    for folder in packages():
        shipped, here = Path(found[Path(folder).name]), Path(folder)
        assert (shipped / "__init__.py").read_text() == (
            here / "__init__.py"
        ).read_text()


def walk(path):
    return [str(entry) for entry in Path(path).iterdir()]
