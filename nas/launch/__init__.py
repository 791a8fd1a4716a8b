"""Starting a run somewhere else: a Ray cluster, Kubernetes or Slurm."""
