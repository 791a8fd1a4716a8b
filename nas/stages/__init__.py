"""The stages of a job, one file each: every stage reads and writes a run directory."""
