"""Stage 6: write each subnet of the front as a network that runs alone, verified."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from nas.export import Source, export_subnet
from nas.front import Member, load_front
from nas.progress import progress
from nas.stages.context import Context
from nas.supernet import load_supernet


def export(context: Context) -> None:
    """Writes the subnets that are not there yet; each appears whole or not at all.

    Raises:
        RunError: If an exported network does not give the supernet's outputs.
    """
    run = context.run
    front = load_front(run.front)
    source = Source(context.experiment, load_supernet(run), run.finetuned)
    _remove_strangers(context, front)

    def write(member: Member) -> None:
        target = run.subnets / member.id
        if not (target / "verification.json").exists():
            export_subnet(source, member, target)

    with (
        progress(context.console, "export", len(front), "subnets") as update,
        # Most of the time goes to compiling, outside the interpreter lock.
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for done, _ in enumerate(pool.map(write, front), start=1):
            update(done)


def _remove_strangers(context: Context, front: list[Member]) -> None:
    """Removes what an earlier, interrupted attempt left for another front."""
    wanted = {member.id for member in front}
    if context.run.subnets.exists():
        for entry in context.run.subnets.iterdir():
            if entry.is_dir() and entry.name not in wanted:
                shutil.rmtree(entry)
