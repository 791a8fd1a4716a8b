"""What a training run needs beyond its steps: memory, eyes and a voice."""
