"""Search by gradient as a part of a run: bounds, trials on Ray Tune, campaigns."""
